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
        self._lists: dict[str, tuple[bytes, dict[str, list[str]]]] = {}

    def put(self, name: str, content: bytes, names: dict[str, list[str]]) -> NamesAnswer:
        """Store a list, or replace it.

        Args:
            name: What it is called.
            content: What the client sent, which says more than the queries if it is a names file.
            names: The queries of each label, as it was read.

        Raises:
            Refusal: If there are too many.
        """
        if name not in self._lists and len(self._lists) >= self._limits.max_lists:
            raise Refusal(
                507, f"{len(self._lists)} lists are stored, the most there may be: delete one"
            )
        self._lists[name] = content, names
        return NamesAnswer(name=name, names=names)

    def get(self, name: str) -> NamesAnswer:
        """A list.

        Raises:
            Refusal: If there is none of this name.
        """
        if name not in self._lists:
            raise Refusal(404, f"no list {shortened(name)!r} is stored: put it first")
        return NamesAnswer(name=name, names=self._lists[name][1])

    def content(self, name: str) -> bytes:
        """What the client sent.

        Raises:
            Refusal: If there is none of this name.
        """
        self.get(name)
        return self._lists[name][0]

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
