"""CVAT: an auto-annotation function, as cvat-cli and its agents load it.

    cvat-cli task auto-annotate 7 --function-module escnet.bridges.cvat -p names=str:"road, sky"

CVAT joins the function's labels with those of the task by their names.
"""

from typing import Any

from PIL.Image import Image

from escnet.annotations.coco import flat_outline
from escnet.annotations.format import FormatOptions
from escnet.annotations.polygons import without_holes
from escnet.annotations.shapes import masked_shapes, traced_shapes
from escnet.errors import ConfigError
from escnet.extras import module_of_extra
from escnet.inference.segmenter import Names, Segmenter
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary

auto_annotation = module_of_extra("cvat_sdk.auto_annotation", "cvat")
masks = module_of_extra("cvat_sdk.masks", "cvat")


class DetectionFunction:
    """CVAT's protocol of the same name: masks, or polygons where the task asks for them.

    Args:
        segmenter: What segments.
        names: Class names; their labels are those of the task.
        per: What one shape covers: all of a "name", or one connected "region".
        min_area: Regions of fewer pixels go to the neighbour with the longest border.

    Attributes:
        spec: The labels, as CVAT asks for them.

    Raises:
        ConfigError: If `per` is unknown.
        VocabularyError: If the names are empty, repeated or too long.
    """

    def __init__(
        self, segmenter: Segmenter, names: Names, *, per: str = "name", min_area: int = 0
    ) -> None:
        self._segmenter = segmenter
        self._vocabulary = Vocabulary.of(names)
        self._options = FormatOptions(per=per)
        self._min_area = min_area
        self.spec = auto_annotation.DetectionFunctionSpec(
            labels=[
                auto_annotation.label_spec(name, index, type="mask")
                for index, name in enumerate(self._vocabulary.labels)
            ]
        )

    def detect(self, context: Any, image: Image) -> list[Any]:
        """The shapes of one picture.

        Args:
            context: CVAT's; pixels below its `conf_threshold` get no label.
            image: The picture.
        """
        result = self._segmenter.segment(
            image,
            self._vocabulary,
            void_below=context.conf_threshold or 0.0,
            min_area=self._min_area,
        )
        return self._polygons(result) if context.conv_mask_to_poly else self._masks(result)

    def _masks(self, result: Segmentation) -> list[Any]:
        return [
            auto_annotation.mask(shape.label, masks.encode_mask(shape.mask))
            for shape in masked_shapes(result, self._options)
        ]

    def _polygons(self, result: Segmentation) -> list[Any]:
        return [
            auto_annotation.polygon(shape.label, [float(value) for value in flat_outline(piece)])
            for shape in traced_shapes(result, self._options)
            for polygon in shape.polygons
            for piece in without_holes(polygon)
        ]


def create(
    names: str = "",
    names_file: str = "",
    model: str = "mini",
    device: str = "auto",
    per: str = "name",
    min_area: int = 0,
) -> DetectionFunction:
    """The function that cvat-cli loads; the arguments are its `-p NAME=TYPE:VALUE`.

    Args:
        names: Class names, such as "road, vehicle=car|truck".
        names_file: In place of them a file with a class list, of CVAT or any other tool.
        model: As `Segmenter.load` takes it.
        device: "auto", or as PyTorch names it.
        per: What one shape covers: all of a "name", or one connected "region".
        min_area: Regions of fewer pixels go to the neighbour with the longest border.

    Raises:
        EscnetError: If an argument is wrong, or the weights are not here.
    """
    if bool(names) == bool(names_file):
        raise ConfigError("give either names or names_file: -p names=str:'road, sky'")
    vocabulary = Vocabulary.read(names_file) if names_file else Vocabulary.parse(names)
    return DetectionFunction(
        Segmenter.load(model, device=device), vocabulary, per=per, min_area=min_area
    )
