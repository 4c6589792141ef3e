from pathlib import Path

import pytest
from PIL import Image

from escnet.cli.bulk import find_anywhere, workforce_from_options
from escnet.cli.main import run
from escnet.errors import ConfigError


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "spark"], "no engine 'spark': choose from local, ray"),
        (["--workers", "2"], "--workers 2 needs a cluster: add --engine ray"),
        (["--address", "auto"], "--address auto needs a cluster: add --engine ray"),
        (["--format", "parquet"], "format parquet is written by workers: add --engine ray"),
        (["--out", "s3://bucket/out"], "s3://bucket/out is not on a disk of this machine"),
    ],
)
def test_what_needs_a_cluster_is_refused_without_one(
    options: list[str], said: str, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["segment", str(picture), "--classes", "sky", *options]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_pictures_in_a_bucket_need_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["segment", "s3://bucket/a.jpg", "--classes", "sky"]) == 2
    assert "s3://bucket/a.jpg is not on a disk of this machine: add --engine ray" in (
        capsys.readouterr().err
    )


def test_label_maps_of_others_need_no_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escnet.extras.is_installed", lambda _: True)
    maps = tmp_path / "maps"
    for name in ("images", "labels"):
        (maps / name).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(maps / "images" / "a.png")
    Image.new("L", (8, 8)).save(maps / "labels" / "a.png")
    (maps / "classes.txt").write_text("sky\n")
    options = ["--predictions", str(maps), "--engine", "ray", "--out", str(tmp_path / "out")]
    assert run(["evaluate", str(maps), *options]) == 2
    assert "--predictions asks no model: leave --engine ray out" in capsys.readouterr().err


def test_an_engine_that_is_not_installed_is_told_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("escnet.extras.is_installed", lambda _: False)
    with pytest.raises(ConfigError, match=r"ray is not installed: pip install 'escnet\[ray\]'"):
        workforce_from_options("ray", None, None, None, "auto")


def test_a_worker_is_not_given_one_certain_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escnet.extras.is_installed", lambda _: True)
    with pytest.raises(ConfigError, match="--device cuda:1 is one GPU of a machine"):
        workforce_from_options("ray", None, None, None, "cuda:1")
    workforce = workforce_from_options("ray", "auto", 2, 3, "cpu")
    assert workforce is not None
    assert (workforce.address, workforce.workers, workforce.threads) == ("auto", 2, 3)
    assert not workforce.uses_gpu


def test_sources_here_are_found_as_without_a_cluster(picture: Path) -> None:
    assert find_anywhere([str(picture.parent), str(picture)], recursive=False) == [picture]


def test_films_are_not_given_to_workers(
    picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escnet.extras.is_installed", lambda _: True)
    options = ["--classes", "sky", "--engine", "ray", "--as", "film"]
    assert run(["segment", str(picture), *options]) == 2
    assert "are films, which one process segments" in capsys.readouterr().err
