"""Labels of a vocabulary taught by examples: vectors found, tried, and written into it.

Sizes: P patches, D joint space.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image

from escnet.class_lists.class_list import display_text
from escnet.class_lists.clean_name import comparable
from escnet.class_lists.details import TaughtVectors
from escnet.errors import ConfigError, DatasetError
from escnet.inference.methods.method import Teachable
from escnet.inference.names.unit_vectors import unit_vectors
from escnet.inference.segmenter import Segmenter
from escnet.teaching.examples import NONE_OF_THEM, Example, ExampleFile
from escnet.teaching.vectors import taught_vector
from escnet.vocabulary import Vocabulary

MOST_EXAMPLES = 10  # pictures a label is taught by, unless more are asked for


class Lesson(NamedTuple):
    """What became of a label.

    Attributes:
        label: The label.
        pictures: Names of the pictures that show it.
        iou_by_name: On these pictures its IoU by its name; None where it was not tried.
        iou_as_taught: The same by what the other pictures taught.
        is_taught: Whether the label has a vector now: not if its name alone is the better.
    """

    label: str
    pictures: tuple[str, ...]
    iou_by_name: float | None
    iou_as_taught: float | None
    is_taught: bool


class _Look(NamedTuple):
    """What an example shows of the labels, patch by patch.

    Attributes:
        file: The example.
        patch: Patch embeddings.
        inside: For each label that it tells about, the share of each patch that shows it.
        outside: The same of pixels that show something else.
    """

    file: ExampleFile
    patch: Float32[np.ndarray, "P D"]
    inside: dict[str, Float32[np.ndarray, " P"]]
    outside: dict[str, Float32[np.ndarray, " P"]]

    def shows(self, label: str) -> bool:
        return label in self.inside and bool(self.inside[label].any())


def teach(
    segmenter: Segmenter,
    vocabulary: Vocabulary,
    examples: Sequence[ExampleFile],
    *,
    labels: Sequence[str] | None = None,
    most: int = MOST_EXAMPLES,
    trials: int = 20,
    on_example: Callable[[ExampleFile], None] = lambda _: None,
) -> tuple[Vocabulary, list[Lesson]]:
    """A vocabulary whose labels know what the examples show.

    The network stays as it is. Each label gets one vector (`taught_vector`) that is asked in place
    of its name, unless the examples say that the name alone is the better: each picture is
    segmented by the names and by what the other pictures taught, and IoUs are compared; a class for
    the rest stands beside them where the picture shows something else. What labels were taught
    before for the same weights is replaced.

    Args:
        segmenter: An ESC-Net.
        vocabulary: Names that an example tells about and that are not in it are added to its end.
        examples: Pictures with masks.
        labels: Which are taught; None for all that the examples show.
        most: Pictures that a label is taught by: the first so many that show it.
        trials: On how many pictures, at most, names are compared with what was taught.
        on_example: Called with each example that has been looked at.

    Returns:
        The vocabulary, and what became of each label.

    Raises:
        ConfigError: If the method of the segmenter cannot be taught.
        DatasetError: If a file of an example cannot be used, or no example shows a label.
        ImageError: If a picture cannot be read.
        VocabularyError: If a name cannot be a label.
    """
    if not isinstance(segmenter.method, Teachable):
        raise ConfigError(
            f"model {segmenter.model!r} is of the method {segmenter.method.name}, which cannot be "
            "taught: take an ESC-Net, such as mini"
        )
    vocabulary, examples = _of_vocabulary(vocabulary, examples, labels)
    looks = _look_at(segmenter, examples, labels, most, on_example)
    wanted = labels or [name for name in vocabulary.labels if any(o.shows(name) for o in looks)]
    for label in wanted:
        if not any(look.shows(label) for look in looks):
            raise DatasetError(f"no picture shows {display_text(label)}: give one that does")
    if not wanted:
        raise DatasetError("no picture shows any label: give pictures that do")
    texts = _texts(segmenter, vocabulary, wanted)
    ious = _tried(segmenter, vocabulary, looks, texts, trials)
    lessons = []
    for label in wanted:
        by_name, as_taught = ious.get(label, (None, None))
        is_taught = by_name is None or as_taught is None or as_taught >= by_name
        shown = tuple(look.file.picture.name for look in looks if look.shows(label))
        lessons.append(Lesson(label, shown, by_name, as_taught, is_taught))
        vector = _vector(looks, label, texts[label]) if is_taught else None
        vocabulary = _with_vector(segmenter, vocabulary, label, vector, shown)
    return vocabulary, lessons


def forget(vocabulary: Vocabulary, label: str) -> Vocabulary:
    """The vocabulary without what a label was taught, for any model.

    Raises:
        VocabularyError: If there is no such label.
        ConfigError: If it was taught nothing.
    """
    details = vocabulary.details_of(label)
    if not details.taught:
        raise ConfigError(f"{display_text(label)} was taught nothing: there is nothing to forget")
    return vocabulary.with_details(label, replace(details, taught=()))


def _of_vocabulary(
    vocabulary: Vocabulary, examples: Sequence[ExampleFile], labels: Sequence[str] | None
) -> tuple[Vocabulary, list[ExampleFile]]:
    """The examples under the vocabulary's labels, and the vocabulary with all of theirs."""
    known = {comparable(label): label for label in vocabulary.labels}
    renamed = []
    for example in examples:
        for name in example.names:
            if comparable(name) not in known and (labels is None or name in labels):
                vocabulary = vocabulary.with_label(name)
                known[comparable(name)] = vocabulary.labels[-1]
        own = tuple(known.get(comparable(name), name) for name in example.names)
        renamed.append(replace(example, names=own, read=_renamed(example, own)))
    return vocabulary, renamed


def _renamed(example: ExampleFile, names: tuple[str, ...]) -> Callable[[], Example]:
    return lambda: example.read()._replace(names=names)


def _look_at(
    segmenter: Segmenter,
    examples: Sequence[ExampleFile],
    labels: Sequence[str] | None,
    most: int,
    on_example: Callable[[ExampleFile], None],
) -> list[_Look]:
    """Looks at examples until every label that they could show was seen in enough of them."""
    count: dict[str, int] = {}
    looks = []
    for file in examples:
        of_interest = [name for name in file.names if labels is None or name in labels]
        if all(count.get(name, 0) >= most for name in of_interest):
            continue
        look = _look(segmenter, file, of_interest)
        shown = [name for name in of_interest if look.shows(name)]
        if any(count.get(name, 0) < most for name in shown):
            looks.append(look)
            count.update((name, count.get(name, 0) + 1) for name in shown)
        on_example(file)
    return looks


def _look(segmenter: Segmenter, file: ExampleFile, labels: Sequence[str]) -> _Look:
    example = file.read()
    method: Any = segmenter.method
    patch = method.patch_embedding(segmenter.encoded(example.pixels))
    h, w = patch.shape[1:]

    def share(mask: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, " P"]:
        exact = Image.fromarray(mask.astype(np.float32))
        return np.asarray(exact.resize((w, h), Image.Resampling.BOX)).ravel()

    return _Look(
        file,
        patch.reshape(len(patch), -1).T,
        {label: share(example.inside(label)) for label in labels},
        {label: share(example.outside(label)) for label in labels},
    )


def _texts(
    segmenter: Segmenter, vocabulary: Vocabulary, labels: Sequence[str]
) -> dict[str, Float32[np.ndarray, " D"]]:
    """The mean direction of each label's queries."""
    unit = unit_vectors(segmenter.text_embedding(vocabulary))
    owner = np.array(vocabulary.owner)
    return {label: unit[owner == vocabulary.labels.index(label)].mean(axis=0) for label in labels}


def _vector(
    looks: Sequence[_Look], label: str, text: Float[np.ndarray, " D"]
) -> Float32[np.ndarray, " D"]:
    own = [look for look in looks if label in look.inside]
    return taught_vector(
        np.concatenate([look.patch for look in own]),
        np.concatenate([look.inside[label] for look in own]),
        np.concatenate([look.outside[label] for look in own]),
        text,
    )


def _with_vector(
    segmenter: Segmenter,
    vocabulary: Vocabulary,
    label: str,
    vector: Float32[np.ndarray, " D"] | None,
    source: Sequence[str] = (),
) -> Vocabulary:
    """The vocabulary in which a label knows a vector for these weights, or none."""
    details = vocabulary.details_of(label)
    taught = [one for one in details.taught if one.weights_hash != segmenter.weights_hash]
    if vector is not None:
        vectors = TaughtVectors.of(
            vector[None],
            weights_hash=segmenter.weights_hash,
            model=segmenter.model,
            replaces_text=True,
            source=source,
        )
        taught.append(vectors)
    return vocabulary.with_details(label, replace(details, taught=tuple(taught)))


def _tried(
    segmenter: Segmenter,
    vocabulary: Vocabulary,
    looks: Sequence[_Look],
    texts: Mapping[str, Float32[np.ndarray, " D"]],
    trials: int,
) -> dict[str, tuple[float, float]]:
    """The IoUs of labels by name and as taught by the other pictures, where there are others."""
    by_name = vocabulary
    for label in texts:
        by_name = _with_vector(segmenter, by_name, label, None)
    counts = {label: np.zeros((2, 2)) for label in texts}  # by name, as taught: both, either
    for look in looks[:trials]:
        others = [one for one in looks if one is not look]
        labels = [one for one in texts if any(other.shows(one) for other in others)]
        if not any(look.shows(label) for label in labels):
            continue
        as_taught = by_name
        for label in labels:
            vector = _vector(others, label, texts[label])
            as_taught = _with_vector(segmenter, as_taught, label, vector)
        example = look.file.read()
        has_rest = bool((example.name_index == NONE_OF_THEM).any())
        for row, names in enumerate((by_name, as_taught)):
            asked = names.with_background() if has_rest else names
            found = segmenter.segment_pixels(example.pixels, asked).label_map
            for label in labels:
                is_found = found == vocabulary.labels.index(label)
                inside, outside = example.inside(label), example.outside(label)
                both = (inside & is_found).sum()
                counts[label][row] += both, (inside | (outside & is_found)).sum()
    return {
        label: (float(of_name[0] / of_name[1]), float(of_taught[0] / of_taught[1]))
        for label, (of_name, of_taught) in counts.items()
        if of_name[1] and of_taught[1]
    }
