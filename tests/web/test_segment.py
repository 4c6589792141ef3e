import base64
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask


def _segment(http: httpx.Client, png: bytes, **fields: Any) -> httpx.Response:
    return http.post("/v1/segment", files={"picture": ("a.png", png)}, data=fields)


def _map_of(text: str) -> np.ndarray:
    with Image.open(BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image)


def test_a_form_is_answered_by_the_label_map_and_the_shares(
    http: httpx.Client, png: bytes, pixels: np.ndarray
) -> None:
    answer = _segment(http, png, names="cat, dog=dog|puppy, sky", void_below="0.5").json()
    labels = _map_of(answer["png"])
    expected = np.where(pixels[:, :, 0] < 128, 255, pixels[:, :, 0] % 3)
    np.testing.assert_array_equal(labels, expected)
    assert [entry["name"] for entry in answer["names"]] == ["cat", "dog", "sky"]
    for entry in answer["names"]:
        assert entry["share"] == pytest.approx((expected == entry["index"]).mean(), abs=1e-6)
    assert answer["void"] == {"label": 255, "share": 0.5}
    assert answer["confidence"] is None


def test_json_is_answered_as_the_form_is(http: httpx.Client, png: bytes) -> None:
    content = {"picture": base64.b64encode(png).decode(), "names": ["cat", "dog"]}
    assert (
        http.post("/v1/segment", json=content).json()
        == _segment(http, png, names="cat, dog").json()
    )


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("cat, dog", ["cat", "dog"]),
        ("cat\ndog=dog|puppy\n", ["cat", "dog"]),
        ('["cat", "dog"]', ["cat", "dog"]),
        ('{"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}', ["cat", "dog"]),
        ("names:\n  0: cat\n  1: dog\n", ["cat", "dog"]),
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_names_are_read_in_every_form(
    http: httpx.Client, png: bytes, names: str, labels: list[str], as_file: bool
) -> None:
    files: dict[str, Any] = {"picture": png}
    if as_file:
        files["names_file"] = ("names.txt", names.encode())
    response = http.post("/v1/segment", files=files, data=None if as_file else {"names": names})
    assert [entry["name"] for entry in response.json()["names"]] == labels


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools
def test_confidence_and_run_lengths_and_polygons_are_those_of_the_label_map(
    http: httpx.Client, png: bytes, pixels: np.ndarray
) -> None:
    parts = "confidence,rle,polygons,coco"
    answer = _segment(http, png, names="cat, dog", answer=parts, tolerance="0").json()
    labels = pixels[:, :, 0] % 2
    np.testing.assert_allclose(_map_of(answer["confidence"]), pixels[:, :, 0], atol=1)
    for mask in answer["rle"]:
        own = coco_mask.decode({"size": mask["size"], "counts": mask["counts"].encode()})
        np.testing.assert_array_equal(own, labels == mask["index"])
    features = answer["polygons"]["features"]
    assert {one["properties"]["name"] for one in features} == {"cat", "dog"}
    assert [one["name"] for one in answer["coco"]["categories"]] == ["cat", "dog"]
    assert answer["png"] is None


@pytest.mark.parametrize("num_names", [5, 260])
def test_the_three_best_names_are_red_green_and_blue(
    http: httpx.Client, png: bytes, pixels: np.ndarray, num_names: int
) -> None:
    names = [f"n{number}" for number in range(num_names)]
    body = {"picture": base64.b64encode(png).decode(), "names": names, "answer": ["top"]}
    top = http.post("/v1/segment", json=body).json()["top"]
    found = _map_of(top["indices"]).astype(int)
    assert (top["upper"] is None) == (num_names <= 254)
    if top["upper"] is not None:
        found += 256 * _map_of(top["upper"]).astype(int)
    for rank in range(3):
        expected = (pixels[:, :, 0].astype(int) + rank) % num_names
        np.testing.assert_array_equal(found[:, :, rank], expected)
    chances = _map_of(top["probabilities"])
    np.testing.assert_allclose(chances[:, :, 2].astype(int), pixels[:, :, 0].astype(int), atol=1)


def test_a_stored_list_is_used_by_its_name(http: httpx.Client, png: bytes) -> None:
    put = http.put("/v1/names/pets", content="cat\ndog=dog|puppy")
    assert put.json()["names"] == {"cat": ["cat"], "dog": ["dog", "puppy"]}
    assert http.get("/v1/names").json() == {"lists": ["pets"]}
    answer = _segment(http, png, stored_names="pets").json()
    assert [entry["name"] for entry in answer["names"]] == ["cat", "dog"]
    assert http.delete("/v1/names/pets").status_code == 204
    assert _segment(http, png, stored_names="pets").status_code == 404


def test_a_stored_names_file_keeps_what_it_says_besides_queries(
    http: httpx.Client, png: bytes
) -> None:
    names = """
    [[labels]]
    name = "cat"
    color = "#123456"
    group = "pet"
    [[labels]]
    name = "dog"
    group = "pet"
    """
    assert http.put("/v1/names/pets", content=names).json()["names"]["cat"] == ["cat"]
    answer = _segment(http, png, stored_names="pets").json()
    assert answer["names"][0]["colour"] == "#123456"
    http.delete("/v1/names/pets")


def test_the_model_and_the_limits_are_told(http: httpx.Client) -> None:
    about = http.get("/v1/models").json()
    assert about["models"][0]["name"] == "stub"
    assert about["limits"]["max_pixels"] == 250_000
    assert "coco" in about["formats"]


def test_no_page_holds_what_another_host_has(http: httpx.Client) -> None:
    for path in ("/", "/docs"):
        page = http.get(path)
        assert page.status_code == 200
        assert "http" not in page.text.replace("http-equiv", "")
        assert "<script>" not in page.text
        assert "default-src 'self'" in page.headers["content-security-policy"]
    assert http.get("/docs-files/swagger-ui-bundle.js").status_code == 200


def test_a_class_list_is_read_without_being_stored(http: httpx.Client) -> None:
    answer = http.post("/v1/names", content=b"names:\n  0: cup\n  1: table\n")
    assert answer.json() == {"names": {"cup": ["cup"], "table": ["table"]}}
    assert http.get("/v1/names").json() == {"lists": []}


def test_formats_are_those_that_a_label_map_can_have(http: httpx.Client) -> None:
    formats = http.get("/v1/models").json()["formats"]
    assert "labels" in formats
    assert "top3" not in formats  # it has no second name of a pixel
