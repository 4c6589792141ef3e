"""What a method is asked for a vocabulary: its queries' embeddings, and what labels were taught.

Sizes: N embeddings that are asked, M queries, C contrast queries, D the width of the joint space.
"""

from operator import itemgetter
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from escnet.class_lists.class_list import counted, display_text
from escnet.class_lists.details import TaughtVectors
from escnet.errors import VocabularyError
from escnet.vocabulary import Vocabulary

_HASH_DIGITS = 12


class AskedNames(NamedTuple):
    """Embeddings, and whose they are.

    Attributes:
        embedding: Of queries, taught vectors and contrast queries.
        owner: The label of each, in order; contrast queries are labels of their own, after those
            of the vocabulary.
        texts: What each is called.
    """

    embedding: Float32[np.ndarray, "N D"]
    owner: tuple[int, ...]
    texts: tuple[str, ...]


def asked_names(
    vocabulary: Vocabulary,
    embedding: Float32[np.ndarray, "M D"],
    contrast: Float32[np.ndarray, "C D"],
    *,
    model: str,
    weights_hash: str,
) -> AskedNames:
    """What is asked, with taught vectors beside their labels' queries or in their place.

    A taught vector gets the length that the queries have in the mean, so that it counts as they do.

    Args:
        vocabulary: The class names.
        embedding: Of its queries.
        contrast: Of its contrast queries.
        model: The name that the model was loaded by.
        weights_hash: SHA-256 of its weights.

    Raises:
        VocabularyError: If a label was taught for other weights alone, or its vectors have another
            width than the model's.
    """
    width = embedding.shape[1]
    taught = {
        label: vectors_for(vocabulary, label, width, model=model, weights_hash=weights_hash)
        for label, details in enumerate(vocabulary.details)
        if details.taught
    }
    length = np.linalg.norm(embedding, axis=1).mean()
    asked = [  # rows by label; of one label the queries come first
        (label, text, row)
        for text, label, row in zip(vocabulary.queries, vocabulary.owner, embedding, strict=True)
        if label not in taught or not taught[label].replaces_text
    ]
    asked += [
        (label, f"{vocabulary.labels[label]}, as taught ({number})", vector * length)
        for label, own in taught.items()
        for number, vector in enumerate(own.array, 1)
    ]
    asked.sort(key=itemgetter(0))
    asked += [
        (label, text, row)
        for label, (text, row) in enumerate(
            zip(vocabulary.contrast, contrast, strict=True), len(vocabulary)
        )
    ]
    owner, texts, rows = zip(*asked, strict=True)
    return AskedNames(np.stack(rows), owner, texts)


def vectors_for(
    vocabulary: Vocabulary, label: int, width: int, *, model: str, weights_hash: str
) -> TaughtVectors:
    """What a label was taught for a model.

    Args:
        vocabulary: The class names.
        label: Its index; it was taught for some model.
        width: Of the model's text embeddings.
        model: The name that the model was loaded by.
        weights_hash: SHA-256 of its weights.

    Raises:
        VocabularyError: If it was taught for others alone, or in another width.
    """
    details, name = vocabulary.details[label], display_text(vocabulary.labels[label])
    vectors = details.taught_for(weights_hash)
    if vectors is None:
        others = ", ".join(
            f"{one.model or 'a model'} ({one.weights_hash[:_HASH_DIGITS]})"
            for one in details.taught[:3]
        )
        raise VocabularyError(
            f"label {name} was taught for {others}, not for {model} "
            f"({weights_hash[:_HASH_DIGITS]}): teach it for this model, too, take a model that it "
            "was taught for, or delete its `taught`"
        )
    if vectors.array.shape[1] != width:
        raise VocabularyError(
            f"label {name} was taught vectors of {counted(vectors.array.shape[1], 'number')}, but "
            f"{model} has {width}: teach it again"
        )
    return vectors
