"""What the methods that put SAM behind another method have in common.

Sizes: N texts, D the width of the joint space.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from escnet.inference.methods.method import Method
from escnet.inference.sam.prompting import Sam


class SamMethod:
    """Another method's names and maps, with SAM beside them.

    Args:
        base: The method that gives the maps.
        sam: SAM, on its device.
    """

    rejection = ()  # every name has a map

    def __init__(self, base: Method, sam: Sam) -> None:
        self.base = base
        self.sam = sam
        self.template = base.template
        self.view_size = base.view_size

    @property
    def settings(self) -> Mapping[str, object]:
        """What moves a pixel besides weights, names, template and size."""
        return {**self.base.settings, "base": self.base.name}

    @property
    def num_tokens(self) -> int:
        """How many tokens the text tower knows."""
        return self.base.num_tokens

    def encode_text(self, texts: Sequence[str]) -> Float32[np.ndarray, "N D"]:
        """The embeddings of texts that the template has been applied to.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """
        return self.base.encode_text(texts)

    def text_keys(self, texts: Sequence[str]) -> list[bytes]:
        """For each text a hash of all that its embedding depends on besides the weights.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """
        return self.base.text_keys(texts)
