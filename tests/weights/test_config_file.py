from pathlib import Path

import pytest

from escnet.errors import ConfigError, WeightsError
from escnet.weights.config_file import read_json_config, refuse_unusable


def test_settings_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "sam", "sizes": [1, 2]}')
    assert read_json_config(tmp_path / "config.json") == {"model_type": "sam", "sizes": [1, 2]}
    (tmp_path / "config.json").write_text('{"model_type": null}')
    assert read_json_config(tmp_path / "config.json") == {"model_type": None}


def test_where_there_is_no_file_there_are_no_settings(tmp_path: Path) -> None:
    assert read_json_config(tmp_path / "config.json") is None
    (tmp_path / "sam.pth").touch()
    assert read_json_config(tmp_path / "sam.pth" / "config.json") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is not JSON \(.*\)"),
        (b"[" * 200_000, "is nested more than 64 levels deep"),
        (b'{"a":' * 200_000, "is nested more than 64 levels deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"is not JSON \(a number has too many digits\)"),
        (b'"clip"', "holds a JSON str, not an object"),
        (b"[]", "holds a JSON list, not an object"),
        (b'{"model_type": ["clip"]}', r"has model_type \['clip'\], no text"),
        (b'{"model_type": 1}', "has model_type 1, no text"),
        (b'{"model_type": {}}', r"has model_type \{\}, no text"),
    ],
)
def test_whatever_else_a_file_holds_is_one_short_error(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"config.json {message}: copy it again") as error:
        read_json_config(path)
    assert "\n" not in str(error.value)


def test_a_folder_in_its_place_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is a folder: name the file in it"):
        read_json_config(tmp_path)


@pytest.mark.parametrize("kind", [ImportError, TypeError, KeyError, RuntimeError, RecursionError])
def test_what_a_constructor_raises_is_the_files_error(kind: type[Exception]) -> None:
    with (
        pytest.raises(WeightsError, match=r"x\.json does not describe a network .*reason"),
        refuse_unusable(Path("x.json")),
    ):
        raise kind("the reason")


def test_an_error_of_ours_stays_what_it_is() -> None:
    with pytest.raises(ConfigError, match=r"^image_size 33$"), refuse_unusable(Path("x.json")):
        raise ConfigError("image_size 33")
