"""A client of the service that `escnet serve` starts; needs the extra `serve`, and no PyTorch.

from escnet.client import Client

with Client("http://127.0.0.1:8000") as service:
result = service.segment("photo.jpg", ["cup", "table"])
"""

import base64
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from escnet.data.image import read_image
from escnet.errors import EscnetError
from escnet.segmentation import Segmentation

Names = str | Sequence[str] | Mapping[str, str | Sequence[str]]

_BUSY = {429, 503}


class ServiceError(EscnetError):
    """The service did not do what was asked.

    Attributes:
        status: HTTP's number.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Asks a service; close it, or use it as a context.

    Args:
        address: Where it is.
        token: What it wants to be shown, if anything.
        seconds: How long an answer may take.
        patience: How often is asked again when too many others ask.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        seconds: float = 180.0,
        patience: int = 5,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=address, headers=headers, timeout=seconds)
        self._patience = patience

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def segment(
        self, picture: str | Path | bytes, names: Names | None, **asked: Any
    ) -> Segmentation:
        """One label for every pixel of a picture.

        Args:
            picture: A file, or its content.
            names: Class names, or None with `stored_names`.
            asked: Other fields of the request, such as void_below, as docs/reference/service.md
                has them.

        Raises:
            ServiceError: If it was refused.
            ImageError: If the picture cannot be read.
        """
        content = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
        stem = "picture" if isinstance(picture, bytes) else Path(picture).stem
        body = {"picture": base64.b64encode(content).decode("ascii"), "names": names, **asked}
        answer = self._ask("POST", "/v1/segment", json={**body, "answer": ["png", "confidence"]})
        return _result(answer.json(), content, stem)

    def segment_batch(
        self, pictures: Sequence[str | Path], names: Names, **asked: Any
    ) -> Iterator[Segmentation | ServiceError]:
        """The results of several pictures in their order, as they are done.

        A picture that was refused has its error in its place. Who stops early cancels the rest.

        Args:
            pictures: Files.
            names: As of `segment`.
            asked: As of `segment`.

        Raises:
            ServiceError: If the batch was refused.
        """
        files = [("pictures", (Path(one).name, Path(one).read_bytes())) for one in pictures]
        text = names if isinstance(names, str) else json.dumps(names)
        data = {"names": text, **asked, "answer": "png,confidence"}
        job = self._ask("POST", "/v1/batch", files=files, data=data).json()["id"]
        try:
            with self._http.stream("GET", f"/v1/batch/{job}/events", timeout=None) as events:
                for line in events.iter_lines():
                    state = json.loads(line[6:]) if line.startswith("data: ") else {}
                    if state.get("status") == "failed":
                        yield ServiceError(state["error"], 422)
                    elif state.get("status") == "done" and "number" in state:
                        where = f"/v1/batch/{job}/pictures/{state['number']}"
                        picture = Path(pictures[state["number"] - 1])
                        answer = self._ask("GET", where).json()
                        yield _result(answer, picture.read_bytes(), picture.stem)
        finally:
            self._ask("DELETE", f"/v1/batch/{job}")

    def models(self) -> dict[str, Any]:
        """The service's models, formats and limits."""
        return dict(self._ask("GET", "/v1/models").json())

    def store_names(self, name: str, names: Names | bytes) -> dict[str, list[str]]:
        """Store a list of names, or the content of a class list; its labels with their queries.

        Raises:
            ServiceError: If it was refused.
        """
        content = names if isinstance(names, str | bytes) else json.dumps(names)
        return dict(self._ask("PUT", f"/v1/names/{name}", content=content).json()["names"])

    def forget_names(self, name: str) -> None:
        """Delete a stored list.

        Raises:
            ServiceError: If there is none.
        """
        self._ask("DELETE", f"/v1/names/{name}")

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        for attempt in range(self._patience + 1):
            try:
                response = self._http.request(method, path, **content)
            except httpx.HTTPError as error:
                raise ServiceError(f"{self._http.base_url} does not answer ({error})", 0) from None
            if response.status_code not in _BUSY or attempt == self._patience:
                break
            time.sleep(float(response.headers.get("Retry-After", 1)))
        if response.is_success:
            return response
        try:
            message = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            message = f"{self._http.base_url} answers {response.status_code}: is it this service?"
        raise ServiceError(message, response.status_code)


def _result(answer: Mapping[str, Any], picture: bytes, stem: str) -> Segmentation:
    return Segmentation(
        label_map=_pixels(answer["png"]),
        confidence=(_pixels(answer["confidence"]) / np.float32(255)).astype(np.float16),
        names=tuple(entry["name"] for entry in answer["names"]),
        presence=np.array([entry["presence"] for entry in answer["names"]], np.float32),
        picture=read_image(picture),
        model=answer["model"],
        weights_hash=answer["weights_hash"],
        settings=answer["settings"],
        stem=stem,
    )


def _pixels(text: str) -> np.ndarray:
    with Image.open(BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image)
