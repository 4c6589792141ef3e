"""transformers: a segmenter as a pipeline of the task "image-segmentation".

pipe = Pipeline(Segmenter.load(), candidate_labels=["cup", "table"])
pipe("photo.jpg")  # [{"label": "cup", "score": 0.93, "mask": <PIL image>}, ...]

`transformers.pipeline("image-segmentation", model=Segmenter.load(), pipeline_class=Pipeline)` makes
the same with transformers 5. The weights come from `Segmenter.load`, which runs no code from a
folder.
"""

from typing import Any

import numpy as np
from PIL import Image

from escnet.annotations.shapes import name_masks
from escnet.errors import ConfigError
from escnet.extras import module_of_extra
from escnet.inference.segmenter import Segmenter
from escnet.segmentation import Segmentation

transformers = module_of_extra("transformers", "torch")
torch = module_of_extra("torch", "torch")

_REMOTE = ("http://", "https://", "data:")  # what transformers reads; files are read as ever


class _Model(transformers.PreTrainedModel):  # type: ignore[name-defined]
    """A segmenter as what a pipeline asks a model: where it is, and in which precision."""

    input_modalities = ("image",)

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__(transformers.PretrainedConfig())
        self.segmenter = segmenter

    @property
    def device(self) -> Any:
        """Where the segmenter computes."""
        return torch.device(getattr(self.segmenter.method, "device", "cpu"))

    @property
    def dtype(self) -> Any:
        """What matrix products are computed in."""
        return getattr(torch, getattr(self.segmenter.method, "dtype", "float32"))


class Pipeline(transformers.ImageSegmentationPipeline):  # type: ignore[name-defined]
    """transformers' pipeline, with names that are free.

    It takes what transformers' own takes: a path, an address, a PIL image, a list or generator of
    them; and gives for each picture a list of {"label", "score", "mask"}, one for each name that
    has pixels, in the order of the names. The mask is a PIL image of 0 and 255, the score the mean
    confidence of its pixels.

    Args:
        model: What segments.
        candidate_labels: Class names; those of a call have precedence.
        threshold: Names with a lower score are left out, from 0 to 1.
        timeout: Seconds to wait for a picture from the network; None for no limit.
        options: Other keywords of `Segmenter.segment`, such as background or void_below.

    Raises:
        ConfigError: If a device is asked for that the segmenter is not on.
    """

    _load_image_processor = False
    _load_tokenizer = False

    def __init__(self, model: Segmenter, *, device: Any = None, task: str = "", **options: Any):
        network = _Model(model)
        super().__init__(
            model=network, device=network.device, task=task or "image-segmentation", **options
        )
        if device is not None and torch.device(device) != self.device:
            raise ConfigError(
                f"the segmenter is on {self.device}, not on {device}: give the device to "
                "Segmenter.load"
            )

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        return super().__call__(inputs, **kwargs | {"batch_size": 1})  # pictures differ in size

    def check_model_type(self, supported_models: Any) -> None:
        """Nothing: the model is our own."""

    def _sanitize_parameters(
        self, *, timeout: float | None = None, threshold: float | None = None, **options: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        before = {} if timeout is None else {"timeout": timeout}
        after = {} if threshold is None else {"threshold": threshold}
        return before, options, after

    def preprocess(self, image: Any, timeout: float | None = None) -> dict[str, Any]:
        if isinstance(image, str) and image.startswith(_REMOTE):
            image = transformers.image_utils.load_image(image, timeout=timeout)
        return {"picture": image}

    def _forward(
        self, model_inputs: dict[str, Any], candidate_labels: Any = None, **options: Any
    ) -> dict[str, Segmentation]:
        if candidate_labels is None:
            raise ConfigError('no names are given: pipe(picture, candidate_labels=["road", "sky"])')
        picture = model_inputs["picture"]
        result = self.model.segmenter.segment(picture, candidate_labels, **options)
        return {"result": result}

    def postprocess(
        self, model_outputs: dict[str, Segmentation], threshold: float = 0.0
    ) -> list[dict[str, Any]]:
        result = model_outputs["result"]
        return [
            {
                "score": shape.score,
                "label": result.names[shape.label],
                "mask": Image.fromarray(np.where(shape.mask, np.uint8(255), np.uint8(0))),
            }
            for shape in name_masks(result)
            if shape.score >= threshold
        ]
