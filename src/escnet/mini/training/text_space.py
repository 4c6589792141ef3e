"""A sentence encoder made to speak CLIP's language.

One linear map is fitted, by ridge regression, from sentence vectors to published CLIP text
embeddings of the same names. Both are centred: CLIP's embeddings share a large common part that
tells no name from another. The result is an emulation of CLIP's text space, not CLIP.

Sizes: M names with a known CLIP embedding, V width of the sentence vectors, D joint space.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from escnet.errors import WeightsError
from escnet.mini.ridge import ridge_weight
from escnet.small_file import SmallFile

_NAMES = SmallFile(noun="names", error=WeightsError, cure="copy the folder again")

# Chosen on 200 names left out of the fit: the nearest of the 200 CLIP vectors was the name's own
# for 77.5 % at 1, 77.0 % at 0.1, 75.5 % at 3.
RIDGE = 1.0


class NamedVectors(NamedTuple):
    """Names and their CLIP text embeddings, of length 1."""

    names: list[str]
    vectors: Float[Tensor, "M D"]


def read_clip_text_vectors(folder: Path, coco_names: Sequence[str]) -> NamedVectors:
    """The CLIP ViT-B/32 text embeddings that Detic published, of those lists whose order is known.

    Args:
        folder: Holds lvis_v1_clip_a+cname.npy with lvis_v1_train_cat_info.json,
            o365_clip_a+cnamefix.npy with Objects365_names_fix.csv, and coco_clip_a+cname.npy.
        coco_names: COCO's 80 names in order.

    Raises:
        WeightsError: If a file is missing or damaged, or has not one vector for each name.
    """
    try:
        names, vectors = _read_lists(folder)
    except (OSError, ValueError, LookupError, TypeError, EOFError) as error:
        raise WeightsError(
            f"CLIP text vectors in {folder} cannot be read ({error}): copy the folder again"
        ) from error
    names += coco_names
    if len(names) != len(vectors):
        raise WeightsError(
            f"{folder} has {len(vectors)} vectors for {len(names)} names: copy the folder again"
        )
    return NamedVectors(names, F.normalize(torch.from_numpy(vectors.astype(np.float32)), dim=1))


def _read_lists(folder: Path) -> tuple[list[str], Float[np.ndarray, "M D"]]:
    """The names of the first two lists, and the vectors of all three."""
    lvis = _NAMES.json_of(folder / "lvis_v1_train_cat_info.json")
    names = [entry["name"].replace("_", " ").lower() for entry in sorted(lvis, key=_identifier)]
    table = _NAMES.text_of(folder / "Objects365_names_fix.csv")
    names += [row[1].lower() for row in csv.reader(table.splitlines())]
    files = ("lvis_v1_clip_a+cname", "o365_clip_a+cnamefix", "coco_clip_a+cname")
    return names, np.concatenate([np.load(folder / f"{file}.npy") for file in files])


def fit_map(
    sentence: Float[Tensor, "M V"], vector: Float[Tensor, "M D"], ridge: float = RIDGE
) -> tuple[Float[Tensor, "D V"], Float[Tensor, " D"]]:
    """Weight and bias of the linear map from centred sentence vectors to centred embeddings.

    Args:
        sentence: One sentence vector for each name.
        vector: The CLIP embedding of each.
        ridge: How much a large weight costs.
    """
    centre = sentence.mean(dim=0)
    weight = ridge_weight(sentence - centre, vector - vector.mean(dim=0), ridge)
    return weight, -weight @ centre


def _identifier(entry: dict[str, int]) -> int:
    return entry["id"]


def with_noise(text: Float[Tensor, "N D"], length: float) -> Float[Tensor, "N D"]:
    """Text embeddings of length 1 with noise of about that length, for words never met.

    Args:
        text: Of any length.
        length: Of the noise.
    """
    unit = F.normalize(text, dim=1)
    return unit + length * torch.randn_like(unit) / unit.shape[1] ** 0.5
