import json
from pathlib import Path
from typing import Any

import pytest

from escnet.bulk.cluster import Workforce
from escnet.bulk.segment_job import BulkSegmentJob
from escnet.errors import ConfigError, OutputError
from escnet.inference.jobs.segment_job import JobReport, SegmentJob
from escnet.inference.options import SegmentOptions
from escnet.vocabulary import Vocabulary
from tests.bulk.workers import NAMES, draw_pictures, segmenter_of_colours

VOCABULARY = Vocabulary.of(NAMES)
FORMATS = ("labels", "overlay", "coco", "csv", "json")


def bulk(paths: list[Path], out: Path, *, notes: str = "", **changes: Any) -> JobReport:
    changes = {"formats": FORMATS, "workforce": Workforce(), **changes}
    job = BulkSegmentJob.plan(paths, VOCABULARY, out=out, **changes)
    return job.run(segmenter_of_colours(notes))


def plain(paths: list[Path], out: Path, **changes: Any) -> JobReport:
    changes = {"formats": FORMATS, **changes}
    return SegmentJob.plan(paths, VOCABULARY, out=out, **changes).run(segmenter_of_colours())


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def statuses(report: JobReport) -> list[str]:
    return [one.status for one in report.pictures]


def test_the_files_are_those_of_one_process_and_a_bad_picture_is_one_failure(
    ray: object, pictures: list[Path], tmp_path: Path
) -> None:
    del ray
    bad = tmp_path / "in" / "bad.jpg"
    bad.write_text("no picture")
    paths = [*pictures[:4], bad, *pictures[4:]]
    notes = tmp_path / "notes"
    report = bulk(paths, tmp_path / "workers", notes=str(notes))
    expected = plain(paths, tmp_path / "alone")
    assert files_below(tmp_path / "workers") == files_below(tmp_path / "alone")
    assert statuses(report) == ["written"] * 4 + ["failed"] + ["written"] * 5
    assert [str(f.picture) for f in report.failures] == [str(bad)]
    assert [one.error for one in report.failures] == [one.error for one in expected.failures]
    assert [one.summary for one in report.pictures] == [one.summary for one in expected.pictures]
    loaded = [line.split() for line in notes.read_text().splitlines()]
    assert len(loaded) == len({process for process, _ in loaded})  # once in each worker
    assert {threads for _, threads in loaded} == {"1"}


def test_a_job_that_goes_on_makes_what_is_missing_or_changed(
    ray: object, pictures: list[Path], tmp_path: Path
) -> None:
    del ray
    bulk(pictures, tmp_path / "out")
    before = files_below(tmp_path / "out")
    (tmp_path / "out" / "p0003.labels.png").write_bytes(before["p0004.labels.png"])
    (tmp_path / "out" / "p0005.json").unlink()
    report = bulk(pictures, tmp_path / "out", resume=True)
    assert [i for i, status in enumerate(statuses(report)) if status == "written"] == [3, 5]
    assert files_below(tmp_path / "out") == before


def test_a_folder_that_cannot_be_written_ends_the_job_in_one_line(
    ray: object, pictures: list[Path], tmp_path: Path
) -> None:
    del ray
    job = BulkSegmentJob.plan(
        pictures, VOCABULARY, out=tmp_path / "out", formats=["json"], workforce=Workforce()
    )
    (tmp_path / "out").rmdir()
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        job.run(segmenter_of_colours())


def rows(folder: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    return sorted(
        (row for path in folder.glob("*.parquet") for row in parquet.read_table(path).to_pylist()),
        key=lambda row: row["picture"],
    )


def test_tables_hold_what_the_files_of_one_process_do(
    ray: object, pictures: list[Path], tmp_path: Path
) -> None:
    del ray
    report = bulk(pictures, tmp_path / "out", formats=["parquet"])
    plain(pictures, tmp_path / "alone", formats=["labels", "json"])
    assert statuses(report) == ["written"] * 9
    found = rows(tmp_path / "out" / "parquet")
    assert [row["picture"] for row in found] == [str(path) for path in pictures]
    for row, path in zip(found, pictures, strict=True):
        summary = json.loads((tmp_path / "alone" / f"{path.stem}.json").read_text())
        assert row["labels"] == (tmp_path / "alone" / f"{path.stem}.labels.png").read_bytes()
        assert row["names"] == summary["names"]
        assert (row["bytes"], row["sha256"]) == (
            summary["source"]["bytes"],
            summary["source"]["sha256"],
        )
        assert (row["height"], row["width"]) == (summary["height"], summary["width"])
        assert json.loads(row["settings"]) == summary["settings"]
        assert row["model"] == "colours"


def test_tables_are_gone_on_with_and_no_picture_has_two_rows(ray: object, tmp_path: Path) -> None:
    del ray
    paths = draw_pictures(tmp_path / "in", 20)
    bulk(paths[:15], tmp_path / "out", formats=["parquet"])
    with pytest.raises(ConfigError, match=r"of an earlier run.*--resume"):
        bulk(paths, tmp_path / "out", formats=["parquet"])
    paths[3].write_bytes(paths[4].read_bytes())
    report = bulk(paths, tmp_path / "out", formats=["parquet"], resume=True)
    written = [i for i, status in enumerate(statuses(report)) if status == "written"]
    assert written == [3, 15, 16, 17, 18, 19]
    found = rows(tmp_path / "out" / "parquet")
    assert [row["picture"] for row in found] == [str(path) for path in paths]
    assert found[3]["labels"] == found[4]["labels"]
    again = bulk(
        paths,
        tmp_path / "out",
        formats=["parquet"],
        resume=True,
        options=SegmentOptions(void_below=0.9),
    )
    assert statuses(again) == ["written"] * 20  # other settings, other rows
    assert len(rows(tmp_path / "out" / "parquet")) == 20


def test_a_file_among_the_tables_that_is_none_is_not_replaced(
    pictures: list[Path], tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    folder = tmp_path / "out" / "parquet"
    folder.mkdir(parents=True)
    (folder / "mine.parquet").write_text("no table")
    with pytest.raises(OutputError, match="is no Parquet table"):
        bulk(pictures, tmp_path / "out", formats=["parquet"], resume=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"formats": ["parquet", "json"]}, "give it alone"),
        (
            {"out": "s3://bucket/out", "formats": ["coco", "json"]},
            "format coco has files about all",
        ),
    ],
)
def test_formats_that_cannot_be_are_refused(
    changes: dict[str, Any], said: str, pictures: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        bulk(pictures, changes.pop("out", tmp_path), **changes)
