"""What class names are called: their own text, and the synonyms that may stand for it.

Sizes: N class names, M texts, V width of the sentence vectors.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from escnet.errors import ConfigError
from escnet.inference.methods.tokens import Tokenize, encode_in_parts
from escnet.mini.network import Mini


@dataclass(frozen=True, slots=True)
class NameTexts:
    """The texts of some class names.

    Attributes:
        texts: All of them; the names come first.
        wordings: For each name the rows of its texts, its own first.
    """

    texts: tuple[str, ...]
    wordings: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, names: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> "NameTexts":
        """The texts of some names.

        Args:
            names: N class names.
            synonyms: Other texts for some of them.

        Raises:
            ConfigError: If synonyms are given for a name that is none of them.
        """
        if unknown := sorted(set(synonyms) - set(names)):
            raise ConfigError(f"data.synonyms: no class name {unknown[0]!r} in the data")
        texts, wordings = list(names), []
        for index, name in enumerate(names):
            first = len(texts)
            texts.extend(synonyms.get(name, ()))
            wordings.append((index, *range(first, len(texts))))
        return cls(tuple(texts), tuple(wordings))

    def draw(self, names: Iterable[int], random: np.random.Generator) -> list[int]:
        """The row of a text for each name: its own every other time, else one of its synonyms'."""
        rows = []
        for name in names:
            own, *others = self.wordings[name]
            is_own = not others or random.integers(2)
            rows.append(own if is_own else others[int(random.integers(len(others)))])
        return rows

    def words_of(self, names: Iterable[int]) -> dict[int, list[str]]:
        """For each of some names the texts that may stand for it."""
        return {name: [self.texts[row] for row in self.wordings[name]] for name in names}


@torch.inference_mode()
def sentence_vectors(
    network: Mini, tokenize: Tokenize, texts: Sequence[str]
) -> Float[Tensor, "M V"]:
    """The sentence vector of every text in the network's template, without dropout."""
    text = network.text
    text.eval()
    before, after = network.config.template.split("{}")
    device = text.to_joint.weight.device

    def encode(some: Sequence[str]) -> Float32[np.ndarray, "n V"]:
        tokens = tokenize([f"{before}{one}{after}" for one in some])
        token, is_token = (torch.from_numpy(part).to(device) for part in tokens)
        return text.sentence(token, is_token).cpu().numpy()

    return torch.from_numpy(encode_in_parts(texts, encode)).to(device)
