import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent / "web"))  # tests are no package: for `running`

from running import SMALL, running_service

from escnet.client import Client, ServiceError


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("client") / "grey.png"
    Image.fromarray(np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)).save(path)
    return path


def test_a_client_gets_results_that_save_and_tell_as_local_ones(
    picture: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with running_service(SMALL, token="t" * 20) as url:
        with Client(url, token="t" * 20) as client:
            result = client.segment(picture, {"cat": ["cat"], "dog": ["dog", "puppy"]})
            np.testing.assert_array_equal(result.label_map, np.arange(256).reshape(16, 16) % 2)
            assert result.names == ("cat", "dog")
            assert result.share("dog") == 0.5
            assert result.save(tmp_path)["labels"].name == "grey.labels.png"
            first, second, third = client.segment_batch([picture, broken, picture], "cat, dog")
            np.testing.assert_array_equal(first.label_map, result.label_map)
            assert isinstance(second, ServiceError)
            assert isinstance(third, type(result))
            assert client.store_names("pets", ["cat", "dog"]) == {"cat": ["cat"], "dog": ["dog"]}
            again = client.segment(picture, None, stored_names="pets")
            np.testing.assert_array_equal(again.label_map, result.label_map)
            client.forget_names("pets")
            assert client.models()["models"][0]["name"] == "stub"
            with pytest.raises(ServiceError, match="repeats"):
                client.segment(picture, "cat, cat")
            for left in client.segment_batch([picture] * 4, "sleep 0.2"):
                assert isinstance(left, type(result))
                break
        with Client(url) as stranger, pytest.raises(ServiceError, match="token") as refusal:
            stranger.models()
        assert refusal.value.status == 401


def test_a_client_without_a_service_says_so(picture: Path) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServiceError, match="not answer"):
        client.segment(picture, "cat")


def test_a_client_waits_when_too_many_ask() -> None:
    limits = replace(SMALL, requests_per_minute=60)
    with running_service(limits, workers=0) as url, Client(url) as client:
        assert [len(client.models()["models"]) for _ in range(16)] == [0] * 16
