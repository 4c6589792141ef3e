import json
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from running import SMALL, running_service

from escnet.segmentation import Segmentation


def _begin(http: httpx.Client, pictures: list[bytes], names: str, **fields: Any) -> Any:
    files = [("pictures", (f"{number}.png", one)) for number, one in enumerate(pictures, 1)]
    response = http.post("/v1/batch", files=files, data={"names": names, **fields})
    assert response.status_code == 202, response.text
    return response.json()


def _events(http: httpx.Client, job_id: str) -> Iterator[tuple[str, Any]]:
    with http.stream("GET", f"/v1/batch/{job_id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        kind = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))


def test_a_batch_is_followed_fetched_and_forgotten(http: httpx.Client, png: bytes) -> None:
    job = _begin(http, [png, b"no picture", png], "cat, dog", answer="rle")
    assert [one["status"] for one in job["pictures"]] == ["waiting"] * 3
    events = list(_events(http, job["id"]))
    assert [kind for kind, _ in events] == ["picture"] * 6 + ["end"]
    assert [(one["number"], one["status"]) for kind, one in events if kind == "picture"] == [
        (1, "running"), (1, "done"), (2, "running"), (2, "failed"), (3, "running"), (3, "done"),
    ]  # fmt: skip
    end = http.get(f"/v1/batch/{job['id']}").json()
    assert end == events[-1][1]
    assert end["num_done"] == 3
    assert end["pictures"][0]["file"] == "1.png"
    assert "format" in end["pictures"][1]["error"]
    answer = http.get(f"/v1/batch/{job['id']}/pictures/3").json()
    alone = http.post(
        "/v1/segment", files={"picture": png}, data={"names": "cat, dog", "answer": "rle"}
    )
    assert answer == alone.json()
    assert http.get(f"/v1/batch/{job['id']}/pictures/2").status_code == 422
    assert http.get(f"/v1/batch/{job['id']}/pictures/4").status_code == 404
    assert http.delete(f"/v1/batch/{job['id']}").status_code == 204
    assert http.get(f"/v1/batch/{job['id']}").status_code == 404


def test_a_batch_that_is_cancelled_lets_others_in_and_ends_who_follows(
    http: httpx.Client, address: str, png: bytes
) -> None:
    job = _begin(http, [png] * 4, "sleep 0.5")
    assert http.get(f"/v1/batch/{job['id']}/pictures/4").status_code == 409
    events = _events(http, job["id"])
    kinds = [next(events)[0]]
    assert httpx.delete(f"{address}/v1/batch/{job['id']}").status_code == 204
    kinds += [kind for kind, _ in events]
    assert kinds[-1] == "end"
    assert len(kinds) < 9
    assert http.post("/v1/segment", files={"picture": png}, data={"names": "cat"}).is_success


def test_too_many_batches_and_too_many_pictures_are_refused(http: httpx.Client, png: bytes) -> None:
    jobs = [_begin(http, [png], "cat") for _ in range(3)]
    files = [("pictures", png)]
    assert http.post("/v1/batch", files=files, data={"names": "cat"}).status_code == 507
    for job in jobs:
        http.delete(f"/v1/batch/{job['id']}")
    many = http.post("/v1/batch", files=files * 5, data={"names": "cat"})
    assert many.status_code == 413
    assert http.post("/v1/batch", files=files * 50, data={"names": "cat"}).status_code == 400
    assert http.post("/v1/batch", json={}).status_code == 415


def test_a_batch_that_nobody_fetches_is_forgotten(png: bytes) -> None:
    limits = replace(SMALL, job_seconds=0.2)
    with running_service(limits) as url, httpx.Client(base_url=url, timeout=20) as http:
        job = _begin(http, [png], "cat")
        assert list(_events(http, job["id"]))[-1][0] == "end"
        ends = time.monotonic() + 10
        while http.get(f"/v1/batch/{job['id']}").status_code != 404:
            assert time.monotonic() < ends


def _png_of(values: np.ndarray) -> bytes:
    content = BytesIO()
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


def _export(http: httpx.Client, png: bytes, label_maps: list[bytes], **data: Any) -> httpx.Response:
    files = [("pictures", ("my photo.png", png))] * len(label_maps)
    files += [("label_maps", ("m.png", one)) for one in label_maps]
    return http.post("/v1/export", files=files, data={"names": "cat, dog", **data})


def test_corrected_label_maps_become_the_files_that_the_command_writes(
    http: httpx.Client, png: bytes, tmp_path: Path
) -> None:
    labels = np.zeros((16, 16), np.uint8)
    labels[4:9, 2:12] = 1
    labels[0, 0] = 255
    colours = np.stack([labels, labels * 0, labels * 0], axis=2)
    response = _export(
        http, png, [_png_of(labels), _png_of(colours)], formats="labels,coco,voc,overlay,json"
    )
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(BytesIO(response.content)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    result = Segmentation(label_map=labels, confidence=np.ones((16, 16)), names=("cat", "dog"))
    own = result.save(tmp_path, "my photo", ["labels"])["labels"].read_bytes()
    assert found["my photo.labels.png"] == found["my photo-2.labels.png"] == own
    assert len(json.loads(found["coco/instances.json"])["images"]) == 2
    assert any(name.startswith("voc/") for name in found)


@pytest.mark.parametrize(
    ("label_maps", "fields", "status"),
    [
        ([_png_of(np.full((16, 16), 2, np.uint8))], {}, 422),
        ([_png_of(np.zeros((15, 16), np.uint8))], {}, 422),
        ([b"no map"], {}, 422),
        ([_png_of(np.zeros((16, 16), np.uint8))], {"formats": "tiff"}, 422),
        ([_png_of(np.zeros((16, 16), np.uint8))], {"names": "cat, cat"}, 422),
    ],
)
def test_label_maps_that_do_not_fit_are_refused(
    http: httpx.Client, png: bytes, label_maps: list[bytes], fields: dict[str, str], status: int
) -> None:
    response = _export(http, png, label_maps, **fields)
    assert response.status_code == status, response.text
    assert "/tmp" not in response.text  # noqa: S108
