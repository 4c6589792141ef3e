"""Label Studio: a machine learning backend, which answers with brush regions.

The names are the labels of the project's own BrushLabels, so a project needs no other set-up than
the backend's address. `escnet label-studio` starts it.
"""

import logging
from threading import Lock
from typing import Any, NamedTuple

from escnet.annotations.label_studio import prediction
from escnet.errors import ConfigError, EscnetError, first_line
from escnet.extras import module_of_extra
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary

fastapi = module_of_extra("fastapi", "label-studio")
interface = module_of_extra("label_studio_sdk.label_interface", "label-studio")
io = module_of_extra(
    "label_studio_sdk._extensions.label_studio_tools.core.utils.io", "label-studio"
)  # what Label Studio's own backends fetch pictures with

_LOG = logging.getLogger(__name__)


class Setup(NamedTuple):
    """What a project's set-up says.

    Attributes:
        from_name: The name of its BrushLabels.
        to_name: The name of its Image.
        key: Where a task has the picture's address.
        names: The labels.
    """

    from_name: str
    to_name: str
    key: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, label_config: str) -> "Setup":
        """The first BrushLabels of an Image in a labelling set-up.

        Raises:
            ConfigError: If there is none, or its labels come from the tasks.
        """
        try:
            config = interface.LabelInterface(label_config)
            from_name, to_name, key = config.get_first_tag_occurence("BrushLabels", "Image")
            names = tuple(config.get_control(from_name).labels)
        except Exception as error:  # noqa: BLE001 -- the library raises whatever its parts do
            raise ConfigError(
                f"the labelling set-up has no BrushLabels for an Image ({first_line(error)}): add "
                '<BrushLabels name="label" toName="image"> with a <Label value="..."/> for each '
                "name"
            ) from None
        if not names:
            raise ConfigError("the BrushLabels of the labelling set-up have no labels: add some")
        return cls(from_name, to_name, key, names)


class Backend:
    """What Label Studio asks a backend.

    Args:
        segmenter: What segments.
        options: How.
        hostname: Where Label Studio is, such as "http://localhost:8080"; None for what it says.
        access_token: What pictures that it stores are fetched with; None for what it says.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        options: SegmentOptions,
        *,
        hostname: str | None = None,
        access_token: str | None = None,
    ) -> None:
        self._segmenter = segmenter
        self._options = options
        self._hostname = hostname
        self._access_token = access_token
        self._turn = Lock()  # one picture at a time
        self.model_version = f"escnet {segmenter.model} {segmenter.weights_hash[:8]}"

    def setup(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers as Label Studio connects a project.

        Raises:
            ConfigError: If the project's set-up cannot be used.
        """
        Setup.of(str(request.get("schema") or ""))
        self._hostname = self._hostname or request.get("hostname") or None
        self._access_token = self._access_token or request.get("access_token") or None
        return {"model_version": self.model_version}

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """A prediction for each task; one whose picture cannot be read gets an empty one.

        Raises:
            ConfigError: If the project's set-up cannot be used.
            VocabularyError: If its labels cannot be asked.
        """
        setup = Setup.of(str(request.get("label_config") or ""))
        vocabulary = Vocabulary.of(setup.names)
        tasks = request.get("tasks") or []
        results = [self._prediction(task, setup, vocabulary) for task in tasks]
        return {"results": results, "model_version": self.model_version}

    def _prediction(
        self, task: dict[str, Any], setup: Setup, vocabulary: Vocabulary
    ) -> dict[str, Any]:
        try:
            path = io.get_local_path(
                task["data"][setup.key],
                hostname=self._hostname,
                access_token=self._access_token,
                task_id=task.get("id"),
            )
            with self._turn:
                result = self._segmenter.segment(path, vocabulary, **self._values())
        except EscnetError as error:
            return self._failure(task, str(error))
        except Exception as error:  # noqa: BLE001 -- of a picture that cannot be fetched
            return self._failure(task, f"its picture cannot be fetched ({first_line(error)})")
        return prediction(result, self.model_version, setup.from_name, setup.to_name)

    def _failure(self, task: object, reason: str) -> dict[str, Any]:
        number = task.get("id", "?") if isinstance(task, dict) else "?"
        _LOG.warning("task %s: %s", number, reason)
        return {"model_version": self.model_version, "score": 0.0, "result": []}

    def _values(self) -> dict[str, Any]:
        options = self._options
        return {
            "void_below": options.void_below,
            "max_pixels": options.max_pixels,
            "min_area": options.min_area,
        }


def make_app(backend: Backend) -> Any:
    """The backend as an application of FastAPI."""
    app = fastapi.FastAPI(title="escnet for Label Studio", docs_url=None, redoc_url=None)

    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "escnet"}

    def versions() -> dict[str, list[str]]:
        return {"versions": [backend.model_version]}

    def take_event() -> dict[str, str]:
        return {}  # nothing is learnt from annotations

    def refuse(_: object, error: EscnetError) -> Any:
        return fastapi.responses.JSONResponse({"detail": str(error)}, status_code=422)

    for path, answer in (("/", health), ("/health", health), ("/versions", versions)):
        app.add_api_route(path, answer, methods=["GET"])
    for path, take in (("/setup", backend.setup), ("/predict", backend.predict)):
        app.add_api_route(path, take, methods=["POST"])
    app.add_api_route("/webhook", take_event, methods=["POST"], status_code=201)
    app.add_exception_handler(EscnetError, refuse)
    return app
