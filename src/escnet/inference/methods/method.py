"""What every method of segmenting gives: views and text embeddings in, logits of the names out.

The three structures of Figure 1 are methods: ESC-Net itself, correlation refinement (CAT-Seg, or a
plain CLIP without training), and mask proposals. `Segmenter` does the rest for all of them alike:
vocabulary, windows, labels, confidence. A view is encoded once, whatever is asked about it.

Sizes: N texts, M of them kept, D the width of the joint space, h x w any grid of the view.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from escnet.inference.calibration import Calibration
from escnet.inference.label_maps.published_resize import View
from escnet.inference.label_maps.rest import RestRule

# The text tower: texts that the template has been applied to, and their embeddings.
Encode = Callable[[Sequence[str]], Float32[np.ndarray, "N D"]]

# What the image side says of one view. Only the method that gave it reads it.
EncodedView = Any


class ViewLogits(NamedTuple):
    """Logits of one view, a whole picture or a window of it.

    Attributes:
        logits: A map for each kept text; their grid covers the whole view.
        kept: Which of the texts they belong to, in increasing order.
    """

    logits: Float32[np.ndarray, "M h w"]
    kept: list[int]


@runtime_checkable
class Method(Protocol):
    """A way to segment, with its weights on its device.

    Attributes:
        name: What outputs call it: esc-net, cat-seg, training-free, training-free-sam or
            mask-proposals.
        template: Sentence that a class name is put into.
        view_size: Side of the square that the method sees a view as, in pixels.
        settings: What moves a pixel besides the weights, the names and those here.
        rejection: How many labels go on after each look at the maps, where unlikely ones are
            rejected early; empty where none ever is.
        num_tokens: How many tokens its text tower knows, which says what scripts it can read.
    """

    @property
    def name(self) -> str: ...

    @property
    def template(self) -> str: ...

    @property
    def view_size(self) -> int: ...

    @property
    def settings(self) -> Mapping[str, object]: ...

    @property
    def rejection(self) -> tuple[int, ...]: ...

    @property
    def num_tokens(self) -> int: ...

    def encode_text(self, texts: Sequence[str]) -> Float32[np.ndarray, "N D"]:
        """The embeddings of texts that the template has been applied to.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """

    def text_keys(self, texts: Sequence[str]) -> list[bytes]:
        """For each text a hash of all that its embedding depends on besides the weights.

        That is what the text tower reads of it, and how the tower is set up.

        Raises:
            VocabularyError: As `encode_text`.
        """

    def encode_views(self, views: Sequence[View]) -> list[EncodedView]:
        """The image side: all that needs no names; the same as one by one.

        A view with fractions has been resized as the published evaluation does it, bilinearly from
        the nearest pixels; a method that resizes it further does so in the same way.

        Args:
            views: Whole pictures, or windows of them.
        """

    def logits(
        self,
        views: Sequence[EncodedView],
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int] | None = None,
    ) -> list[ViewLogits]:
        """The logits of each view; the same as one by one.

        Args:
            views: As `encode_views` gave them.
            text_embedding: One embedding for each text.
            owner: The label of each text, so that unlikely labels may be rejected early; None for
                exact work.
        """


@runtime_checkable
class Teachable(Protocol):
    """A method that compares patches with texts by the angle between them."""

    def patch_embedding(self, view: EncodedView) -> Float32[np.ndarray, "D h w"]:
        """Where the patches of a view lie in the joint space, as vectors of any length.

        Args:
            view: As `encode_views` gave it; its patches cover the whole of it.
        """


class LoadedMethod(NamedTuple):
    """A method with its weights.

    Attributes:
        method: The method.
        weights_hash: SHA-256 of its weights.
        share_prior: What its checkpoint says of it; see `escnet.inference.label_maps.labelling`.
        rest_rule: What its checkpoint says of the rest class; None for nothing.
        calibration: That which lies in the folder of its weights; None for none.
    """

    method: Method
    weights_hash: str
    share_prior: float = 0.0
    rest_rule: RestRule | None = None
    calibration: Calibration | None = None
