"""A model as what answers for a target's pictures, seen as a protocol says."""

from collections.abc import Mapping

from escnet.evaluation.evaluate import PictureWithPixels, Predict
from escnet.evaluation.protocol import WHOLE_VIEW, EvalProtocol
from escnet.inference.label_maps.windows import Windows
from escnet.inference.methods.method import Method
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary


def predict_with(segmenter: Segmenter, protocol: EvalProtocol = WHOLE_VIEW) -> Predict:
    """How `evaluate` asks a segmenter under a protocol.

    Args:
        segmenter: As the protocol asks for it; see `under_protocol`.
        protocol: How pictures are seen.
    """
    options = _options_under(protocol)

    def predict(item: PictureWithPixels, vocabulary: Vocabulary) -> Segmentation:
        return segmenter.segment_pixels(item.pixels, vocabulary, options)

    return predict


def under_protocol(segmenter: Segmenter, protocol: EvalProtocol) -> Segmenter:
    """The segmenter with the protocol's template, and without what windows leave out.

    It is the same one, with the text embeddings that it has at hand, where nothing differs.
    """
    template = protocol.template
    share_prior = segmenter.share_prior if protocol.view == "whole" else 0.0
    if template is None and share_prior == segmenter.share_prior:
        return segmenter
    return Segmenter(
        segmenter.method if template is None else _WithTemplate(segmenter.method, template),
        model=segmenter.model,
        weights_hash=segmenter.weights_hash,
        share_prior=share_prior,
        embedding_cache=segmenter.embedding_cache,
        rest_rule=segmenter.rest_rule,
        calibration=segmenter.calibration,
        asked_calibration=segmenter.asked_calibration,
    )


def settings_under(segmenter: Segmenter, protocol: EvalProtocol) -> dict[str, object]:
    """What moves a pixel of the answers besides the weights, the names and the protocol."""
    rejection = [] if protocol.exact else list(segmenter.method.rejection)
    settings = {**segmenter.settings, "rejection": rejection}
    if (calibration := segmenter.calibration_for(_options_under(protocol))) is not None:
        settings["calibration"] = calibration.digest
    return settings


def _options_under(protocol: EvalProtocol) -> SegmentOptions:
    windows = None
    if protocol.view == "windows":
        windows = Windows(
            size=protocol.size,
            window=protocol.window,
            overlap=protocol.overlap,
            seams=protocol.seams,
            global_view=protocol.global_view,
        )
    return SegmentOptions(windows=windows, exact=protocol.exact)


class _WithTemplate:
    """A method that puts class names into another sentence."""

    def __init__(self, method: Method, template: str) -> None:
        self.name = method.name
        self.template = template
        self.view_size = method.view_size
        self.rejection = method.rejection
        self.num_tokens = method.num_tokens
        self.encode_text = method.encode_text
        self.text_keys = method.text_keys
        self.encode_views = method.encode_views
        self.logits = method.logits
        self._method = method

    @property
    def settings(self) -> Mapping[str, object]:
        return self._method.settings
