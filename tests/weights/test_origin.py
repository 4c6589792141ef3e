import hashlib
from pathlib import Path

import pytest

from escnet.errors import WeightsError
from escnet.weights.origin import Origin, file_sha256, origins_of

ORIGIN = Origin(
    part="SAM", name="sam.pth", sha256="0" * 64, licence="Apache-2.0", description="SAM ViT-B"
)


def test_an_origin_survives_the_configuration_it_is_stored_in() -> None:
    assert origins_of([ORIGIN.to_dict()]) == (ORIGIN,)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, "A" * 64])
def test_what_is_no_sha256_is_refused(sha256: str) -> None:
    with pytest.raises(WeightsError, match="64 lower-case hexadecimal digits"):
        Origin(part="SAM", name="x", sha256=sha256, licence="MIT", description="")


@pytest.mark.parametrize(
    "record",
    [
        "a text",
        {},
        {**ORIGIN.to_dict(), "url": "https://example.org"},
        {key: value for key, value in ORIGIN.to_dict().items() if key != "licence"},
    ],
)
def test_a_record_with_other_fields_names_the_right_ones(record: object) -> None:
    with pytest.raises(WeightsError, match=r"origin 2 .* part, name, sha256, licence"):
        origins_of([ORIGIN.to_dict(), record])


@pytest.mark.parametrize("records", [5, "text", {"part": "SAM"}, None])
def test_origins_that_are_no_list_say_so(records: object) -> None:
    with pytest.raises(WeightsError, match="must be a list of records"):
        origins_of(records)


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    assert file_sha256(file) == hashlib.sha256(b"abc").hexdigest()


def test_hashing_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nothing does not exist"):
        file_sha256(tmp_path / "nothing")
