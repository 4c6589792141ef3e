"""Groups of labels, and groups of groups: a result can be asked at any level of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from escnet.class_lists.class_list import display_text
from escnet.errors import ConfigError, VocabularyError

_DEEPEST = 16  # groups within groups


class Level(NamedTuple):
    """Labels as they are called at a level.

    Attributes:
        names: Groups, and labels that have no group there, in the order of their first label.
        places: The place in `names` of each label.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]


def paths_of(
    labels: Sequence[str], group_of: Sequence[str], parents: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """From the outermost group to the label, for each label.

    Args:
        labels: What results call the classes.
        group_of: The group of each, "" for none.
        parents: The group of each group, "" for none.

    Raises:
        VocabularyError: If groups are in a circle or too deep, or a label without the group is
            called like it.
    """
    above: dict[str, tuple[str, ...]] = {"": ()}
    for group in dict.fromkeys((*group_of, *parents)):
        if group not in above:
            above[group] = _above(group, parents)
    paths = [(*above[group], label) for label, group in zip(labels, group_of, strict=True)]
    for label, path in zip(labels, paths, strict=True):
        if label in above and label not in path[:-1]:
            raise VocabularyError(
                f"{display_text(label)} is both a label and a group that it is not in: "
                f"give the label the group {display_text(label)}, or rename one of them"
            )
    return paths


def _above(group: str, parents: Mapping[str, str]) -> tuple[str, ...]:
    """The groups from the outermost to this one."""
    chain = [group]
    while outer := parents.get(chain[-1], ""):
        if outer in chain:
            circle = " > ".join(display_text(one) for one in (outer, *reversed(chain)))
            raise VocabularyError(f"groups are in a circle, {circle}: take one `group` out")
        chain.append(outer)
        if len(chain) > _DEEPEST:
            raise VocabularyError(
                f"group {display_text(group)} lies in more than {_DEEPEST - 1} others, the most "
                "there may be: take some levels out"
            )
    return tuple(reversed(chain))


def level_of(paths: Sequence[tuple[str, ...]], level: int) -> Level:
    """The labels as they are called at a level.

    Args:
        paths: Of `paths_of`.
        level: 1 for the outermost groups, 2 for those within them, and so on; a label that lies
            less deep is called by its own name.

    Raises:
        ConfigError: If there is no such level.
    """
    deepest = max(len(path) for path in paths)
    if deepest == 1:
        raise ConfigError(
            f"level {level} needs groups, and the names have none: give labels a `group` in a "
            "names file"
        )
    if not 1 <= level <= deepest:
        raise ConfigError(
            f"level {level} is not among the levels of the names, 1 (the outermost groups) to "
            f"{deepest} (the labels): choose one of them"
        )
    called = [path[min(level, len(path)) - 1] for path in paths]
    names = tuple(dict.fromkeys(called))
    place = {name: index for index, name in enumerate(names)}
    return Level(names, tuple(place[name] for name in called))
