"""Lists of class names that clients store under a name of their own, for as long as we run."""

from escnet.web.limits import Limits
from escnet.web.messages import NamesAnswer
from escnet.web.refusal import Refusal, shortened


class StoredNames:
    """The stored lists; in memory, as they are the clients' own.

    Args:
        limits: Of their number.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lists: dict[str, dict[str, list[str]]] = {}

    def put(self, name: str, names: dict[str, list[str]]) -> NamesAnswer:
        """Store a list, or replace it.

        Raises:
            Refusal: If there are too many.
        """
        if name not in self._lists and len(self._lists) >= self._limits.max_lists:
            raise Refusal(
                507, f"{len(self._lists)} lists are stored, the most there may be: delete one"
            )
        self._lists[name] = names
        return NamesAnswer(name=name, names=names)

    def get(self, name: str) -> NamesAnswer:
        """A list.

        Raises:
            Refusal: If there is none of this name.
        """
        if name not in self._lists:
            raise Refusal(404, f"no list {shortened(name)!r} is stored: put it first")
        return NamesAnswer(name=name, names=self._lists[name])

    def delete(self, name: str) -> None:
        """Forget a list.

        Raises:
            Refusal: If there is none of this name.
        """
        self.get(name)
        del self._lists[name]

    def names(self) -> list[str]:
        """What the lists are called."""
        return sorted(self._lists)
