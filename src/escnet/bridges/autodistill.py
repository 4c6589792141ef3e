"""autodistill: a base model, which labels a folder for a model that is to be trained on it.

model = EscNet(CaptionOntology({"coffee cup": "cup", "dining table": "table"}))
model.label("photos", extension=".jpg", output_folder="labelled")
"""

from typing import Any

import numpy as np

from escnet.bridges.supervision import to_detections
from escnet.extras import module_of_extra
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary

helpers = module_of_extra("autodistill.helpers", "autodistill")
_Base: Any = module_of_extra("autodistill.detection", "autodistill").DetectionBaseModel


class EscNet(_Base):
    """A segmenter that is asked an ontology's prompts; its classes are what results are called.

    Args:
        ontology: autodistill's, such as `CaptionOntology({"coffee cup": "cup"})`. Prompts of one
            class are its synonyms.
        segmenter: What segments; the built-in model, if not given.
        per: What one detection covers: all of a "name", or one connected "region".
        void_below: Pixels of lower confidence get no class, from 0 to 1.

    Raises:
        VocabularyError: If the prompts are empty, repeated or too long.
    """

    def __init__(
        self,
        ontology: Any,
        *,
        segmenter: Segmenter | None = None,
        per: str = "region",
        void_below: float = 0.0,
    ) -> None:
        super().__init__(ontology)
        self.ontology = ontology
        self._segmenter = Segmenter.load() if segmenter is None else segmenter
        self._per, self._void_below = per, void_below
        queries: dict[str, list[str]] = {}
        for name in ontology.classes():
            queries.setdefault(name, [])
        for prompt, name in zip(ontology.prompts(), ontology.classes(), strict=True):
            queries[name].append(prompt)
        self._vocabulary = Vocabulary.of(queries)

    def predict(self, input: Any) -> Any:  # noqa: A002 -- autodistill's name
        """A `supervision.Detections` of a picture.

        Args:
            input: A path, a PIL image, or an array as OpenCV reads it, blue first.

        Raises:
            EscnetError: If the picture cannot be read.
        """
        picture = helpers.load_image(input, return_format="PIL")
        result = self._segmenter.segment(picture, self._vocabulary, void_below=self._void_below)
        detections = to_detections(result, per=self._per)
        if len(detections):  # a class of several prompts stands several times in autodistill's list
            classes = self.ontology.classes()
            detections.class_id = np.array(
                [classes.index(result.names[label]) for label in detections.class_id]
            )
        return detections
