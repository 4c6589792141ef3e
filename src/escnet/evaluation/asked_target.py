"""A target whose classes are asked as a names file says, and scored at a level of its groups.

Sizes: H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from escnet.class_lists.class_list import display_text
from escnet.class_lists.clean_name import comparable
from escnet.data.labelled_picture import ReadLabels
from escnet.errors import ConfigError
from escnet.evaluation.target import AskedClasses, EvalTarget
from escnet.vocabulary import Vocabulary


def asked_by(target: EvalTarget, names: Vocabulary, level: int = 0) -> EvalTarget:
    """The target with the names file's queries, contrast queries, thresholds and taught vectors.

    Args:
        target: Whose classes are the labels of the file, in any order; its background is not.
        names: What the names file says.
        level: 1 to score the outermost groups, 2 those within them, and so on; 0 for the labels.

    Raises:
        ConfigError: If a class is no label or a label is no class, or there is no such level.
    """
    classes = target.classes[:-1] if target.has_background else target.classes
    place = {comparable(name): index for index, name in enumerate(classes)}
    labels = [comparable(label) for label in names.labels]
    for own, others, noun in ((place, labels, "label"), (labels, place, "class")):
        missing = [name for name in own if name not in others]
        if missing:
            is_class = noun == "label"
            raise ConfigError(
                f"{'class' if is_class else 'label'} {display_text(missing[0])} is no {noun} of "
                f"{'the names file' if is_class else target.name}: the file needs each class of "
                "the target once, and nothing else"
            )
    scored, index = names.level(level) if level else (names.labels, tuple(range(len(names))))
    by_class = dict(zip(labels, index, strict=True))  # from a class to what is scored
    table = [by_class[comparable(name)] for name in classes]
    background = target.classes[-1:] if target.has_background else ()
    table += [len(scored)] * len(background)
    return replace(
        target,
        classes=(*scored, *background),
        items=tuple(replace(item, read=partial(_read, item.read, table)) for item in target.items),
        asked=AskedClasses(names, index),
    )


def _read(read: ReadLabels, table: Sequence[int], path: Path) -> Integer[np.ndarray, "H W"]:
    """A label map whose classes are those that are scored; what is no class stays as it is."""
    truth = read(path).astype(np.int64)
    is_class = (truth >= 0) & (truth < len(table))
    truth[is_class] = np.array(table)[truth[is_class]]
    return truth
