"""The presence of class names in a whole picture, fitted behind a finished network.

What a label map shows is present, what its source annotates and it does not show is absent; so it
is with the class names that captions say, and with any other words that they say. The rest of the
network stays as it is, so every picture is summed up once.

Sizes: P pictures, S channels of a summary, M texts, D joint space, N class names, Q pictures with
captions, W words.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ConfigError
from escnet.mini.network import Mini
from escnet.mini.presence import Presence
from escnet.training.captions import CaptionedPictures, names_said_of
from escnet.training.examples import shared_classes
from escnet.training.features import whole_views_read
from escnet.training.frozen_towers import worded
from escnet.training.text_space import blurred

_DROPOUT, _WEIGHT_DECAY, _RATE = 0.7, 0.05, 1e-3
_NOISE = 0.5  # length of what blurs a text embedding of length 1, for words never met
_WORDS_WEIGHT = 0.3  # of the loss of words beside that of class names
_FEWEST_PICTURES = 2  # that say a word
_NEAR = 0.5  # cosine from which two words may mean the same thing


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentNames:
    """What the pictures are known to show.

    Attributes:
        present: Whether a picture shows the class name, by its label map or its captions.
        is_known: Whether it does, or somebody looked for the name there.
    """

    present: Bool[np.ndarray, "P N"]
    is_known: Bool[np.ndarray, "P N"]

    def and_then(self, others: "PresentNames") -> "PresentNames":
        """The same of further pictures behind these."""
        return PresentNames(
            present=np.concatenate([self.present, others.present]),
            is_known=np.concatenate([self.is_known, others.is_known]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidWords:
    """What some of the pictures show in any words that their captions say.

    Attributes:
        rows: Of these Q pictures.
        shown: Which of the W words they show.
        texts: The words' text embeddings.
    """

    rows: Int[np.ndarray, " Q"]
    shown: PresentNames
    texts: Float[Tensor, "W D"]


def shown_names(dataset: FolderDataset, withheld: Sequence[str] = ()) -> PresentNames:
    """What the label maps of a folder say of whole pictures.

    Args:
        dataset: The pictures.
        withheld: Class names of which nothing is to be known.

    Raises:
        DatasetError: If its sources do not share their N class names.
    """
    classes = shared_classes(dataset)
    present = np.zeros((len(dataset), len(classes)), bool)
    is_known = np.zeros_like(present)
    for row, item in enumerate(dataset):
        labels = np.unique(item.read_truth()).astype(np.int64)
        unused = (dataset.ignore_index, dataset.background_index)
        present[row, labels[~np.isin(labels, unused)]] = True
        is_known[row, dataset.source(item.source).annotated] = True
    is_open = np.array([name not in withheld for name in classes])
    return PresentNames(present=present & is_open, is_known=(is_known | present) & is_open)


def said_names(captioned: CaptionedPictures, num_names: int) -> PresentNames:
    """What captions say of whole pictures: a name that they do not say counts as absent.

    Args:
        captioned: The pictures.
        num_names: N.
    """
    present = _table_of(captioned.said, num_names)
    is_known = np.zeros_like(present)
    is_known[:, captioned.names] = True
    return PresentNames(present=present, is_known=is_known)


def said_words(
    captioned: CaptionedPictures,
    words: Sequence[str],
    texts: Float[Tensor, "_ D"],
    *,
    first_row: int,
) -> SaidWords:
    """Which of some words captions say; what is near a word that they say is not known.

    Args:
        captioned: The pictures.
        words: Words to look for; of those only W are said often enough.
        texts: Their text embeddings.
        first_row: Of these pictures among all.
    """
    said = names_said_of(captioned.pictures, {index: [word] for index, word in enumerate(words)})
    present = _table_of(said, len(words))
    kept = present.sum(axis=0) >= _FEWEST_PICTURES
    present, texts = present[:, kept], texts[torch.from_numpy(kept)]
    unit = F.normalize(texts, dim=1)
    is_near = (unit @ unit.T > _NEAR).numpy()
    is_doubtful = present @ is_near  # (Q, W)
    rows = first_row + np.arange(len(said))
    shown = PresentNames(present=present, is_known=present | ~is_doubtful)
    return SaidWords(rows=rows, shown=shown, texts=texts)


def _table_of(said: Sequence[Collection[int]], num_names: int) -> Bool[np.ndarray, "Q _"]:
    """Of each picture the names that its captions say, as a row."""
    present = np.zeros((len(said), num_names), bool)
    for row, found in enumerate(said):
        present[row, list(found)] = True
    return present


@torch.inference_mode()
def summaries(
    network: Mini, items: Sequence[LabelledPicture], tell: Callable[[int], None] = lambda _: None
) -> Float[Tensor, "P S"]:
    """What the tower makes of every whole picture.

    Args:
        network: Of the built-in model's kind.
        items: The pictures.
        tell: Called with the number of pictures that are done.

    Raises:
        ImageError: If a picture cannot be read.
    """
    vision = network.vision
    done, parts = 0, []
    for maps in whole_views_read(vision, items, network.config.image_size):
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(vision.project(maps).summary.float())
        done += len(parts[-1])
        tell(done)
    return torch.cat(parts).clone()


def fit_presence(
    network: Mini,
    summary: Float[Tensor, "P S"],
    shown: PresentNames,
    texts: Float[Tensor, "M D"],
    wordings: Sequence[Sequence[int]],
    *,
    said: SaidWords | None = None,
    passes: int = 12,
    batch_size: int = 64,
    seed: int = 0,
) -> float:
    """Fit the network's `presence` in place, which starts anew.

    Args:
        network: With a `presence`.
        summary: Of every picture.
        shown: What the pictures are known to show.
        texts: Text embeddings of all texts that may stand for a name.
        wordings: For each of the N class names its rows in `texts`, its own first.
        said: What captions say of some of the pictures, if there are any.
        passes: Over the pictures.
        batch_size: Pictures for each step.
        seed: Of everything that is random.

    Returns:
        The loss of the last tenth of the steps: binary cross-entropy, summed over the names.

    Raises:
        ConfigError: If the network has no `presence`.
    """
    if network.presence is None:
        raise ConfigError("the network has no presence: set model.settings.presence")
    random = np.random.default_rng(seed)
    mean = summary.mean(dim=0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = Presence(summary_dim=summary.shape[1], joint_dim=texts.shape[1])
        fresh.begin_fit()
        fresh.norm.running_mean = mean
        fresh.norm.running_var = summary.var(dim=0, correction=0)
        fresh.eval()  # its norm keeps the statistics of all pictures
        num_steps = max(2, passes * len(summary) // batch_size)
        optimiser = torch.optim.AdamW(fresh.parameters(), weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=num_steps)
        losses = []
        for _ in range(num_steps):
            rows = random.integers(len(summary), size=batch_size)
            words = worded(np.arange(len(wordings)), wordings, random)
            loss = _loss(fresh, summary[rows], mean, texts[words], shown, rows)
            losses.append(loss.item())
            if said is not None:
                own = random.integers(len(said.rows), size=batch_size)
                seen = summary[said.rows[own]]
                loss = loss + _WORDS_WEIGHT * _loss(fresh, seen, mean, said.texts, said.shown, own)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.presence.load_state_dict(fresh.state_dict())
    return float(np.mean(losses[-max(1, num_steps // 10) :]))


def _loss(
    presence: Presence,
    summary: Float[Tensor, "B S"],
    mean: Float[Tensor, " S"],
    texts: Float[Tensor, "N D"],
    shown: PresentNames,
    rows: Int[np.ndarray, " B"],
) -> Float[Tensor, ""]:
    """Of some pictures: binary cross-entropy of the names that are known, summed over them.

    Much of a summary is left out, which counts as its mean then, and the text embeddings are
    blurred: words never met lie near those that were.

    Args:
        presence: What is fitted.
        summary: Of the pictures.
        mean: Over all pictures.
        texts: Of the names.
        shown: What is known.
        rows: The pictures' rows in it.
    """
    seen = mean + F.dropout(summary - mean, _DROPOUT)
    loss = F.binary_cross_entropy_with_logits(
        presence(seen, blurred(texts, _NOISE)),
        torch.from_numpy(shown.present[rows]).float(),
        weight=torch.from_numpy(shown.is_known[rows]).float(),
        reduction="sum",
    )
    return loss / len(rows)
