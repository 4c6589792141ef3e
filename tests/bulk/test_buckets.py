"""Pictures and results in buckets of a server that speaks S3, started by the test."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from escnet.bulk.bucket_stores import BucketResults, fetched_pictures
from escnet.bulk.cluster import Workforce
from escnet.bulk.places import Folder, address_of, find_in_bucket, is_address
from escnet.bulk.segment_job import BulkSegmentJob, SegmentTask
from escnet.errors import ConfigError, ImageError, OutputError
from escnet.inference.jobs.segment_job import PictureReport, SegmentJob
from escnet.vocabulary import Vocabulary
from tests.bulk.workers import NAMES, draw_pictures, segmenter_of_colours

VOCABULARY = Vocabulary.of(NAMES)
FORMATS = ("labels", "json")


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A file system on a server of this machine, and the variables by which s3fs finds it."""
    pytest.importorskip("moto", reason="moto is not installed: make test-bulk")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: make test-bulk")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    with (
        subprocess.Popen(command, stdout=quiet, stderr=quiet) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        _wait_for(port)
        yield s3fs.S3FileSystem()
        server.terminate()


def _wait_for(port: int) -> None:
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the server has not started")


@pytest.fixture
def bucket(s3: Any, tmp_path: Path) -> str:
    """The address of a folder with pictures, one bad, and something else."""
    draw_pictures(tmp_path / "in", 5)
    name = f"b{abs(hash(str(tmp_path)))}"
    s3.mkdir(name)
    for path in (tmp_path / "in").iterdir():
        s3.put_file(str(path), f"{name}/pictures/{path.name}")
    s3.pipe_file(f"{name}/pictures/bad.png", b"no picture")
    s3.pipe_file(f"{name}/pictures/notes.txt", b"notes")
    s3.pipe_file(f"{name}/pictures/more/deep.png", (tmp_path / "in" / "p0000.png").read_bytes())
    return f"s3://{name}"


def segmented(address: str, out: str, **changes: Any) -> list[PictureReport]:
    """What one worker makes of all pictures at an address, without Ray."""
    paths = find_in_bucket(address, recursive=False)
    settings = {"formats": FORMATS, "workforce": Workforce(), **changes}
    job = BulkSegmentJob.plan(paths, VOCABULARY, out=out, **settings)
    reference = segmenter_of_colours().reference
    assert reference is not None
    task = SegmentTask(job=job.job, out=job.out, as_tables=job.as_tables, reference=reference)
    reports = {
        output: report
        for part in job._parts(1)
        for output, report in zip(part.outputs, task.start(1)(part, False), strict=True)
    }
    job._list_failures(reports, is_over=True)
    return [reports[output] for output in job.outputs]


def test_an_address_is_told_from_a_path() -> None:
    assert is_address("s3://bucket/a.jpg")
    assert address_of(Path("s3://bucket/a/b.jpg")) == "s3://bucket/a/b.jpg"
    for path in ("a.jpg", "/a/b.jpg", "c:/a.jpg", "a b/c:d.jpg"):
        assert not is_address(path)
        assert address_of(Path(path)) is None


def test_pictures_of_a_bucket_are_found_by_their_suffix(bucket: str) -> None:
    found = [address_of(path) for path in find_in_bucket(f"{bucket}/pictures", recursive=False)]
    assert found[0] == f"{bucket}/pictures/bad.png"
    assert len(found) == 6
    assert len(find_in_bucket(f"{bucket}/pictures", recursive=True)) == 7
    assert len(find_in_bucket(f"{bucket}/pictures/p000[12]*.png", recursive=False)) == 2
    assert find_in_bucket(f"{bucket}/pictures/notes.txt", recursive=False)  # named one by one


def test_results_of_a_bucket_are_those_of_files(bucket: str, s3: Any, tmp_path: Path) -> None:
    reports = segmented(f"{bucket}/pictures", f"{bucket}/out")
    paths = sorted((tmp_path / "in").iterdir())
    plain = SegmentJob.plan(paths, VOCABULARY, out=tmp_path / "out", formats=FORMATS)
    plain.run(segmenter_of_colours())
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    root = f"{bucket.removeprefix('s3://')}/out"
    there = {Path(name).name: s3.cat_file(name) for name in s3.find(root)}
    failures = json.loads(there.pop("failures.json"))["failures"]
    assert there == made
    assert len(there) == 10
    assert [one["picture"] for one in failures] == [f"{bucket}/pictures/bad.png"]
    assert f"picture {bucket}/pictures/bad.png" in failures[0]["error"]
    assert [report.status for report in reports] == ["failed"] + ["written"] * 5
    assert reports[1].outputs["json"] == f"{bucket}/out/p0000.json"
    reports = segmented(f"{bucket}/pictures", f"{bucket}/out", resume=True)
    assert [report.status for report in reports] == ["failed"] + ["skipped"] * 5
    s3.pipe_file(f"{root}/p0002.labels.png", b"torn")
    s3.rm_file(f"{root}/p0003.json")
    reports = segmented(f"{bucket}/pictures", f"{bucket}/out", resume=True)
    assert [report.status for report in reports][3:5] == ["failed", "written"]
    assert "p0002.labels.png is no result of escnet" in reports[3].error  # who knows whose it is
    assert s3.cat_file(f"{root}/p0002.labels.png") == b"torn"
    s3.rm_file(f"{root}/p0002.labels.png")
    reports = segmented(f"{bucket}/pictures", f"{bucket}/out", resume=True)
    assert [report.status for report in reports][3:5] == ["written", "skipped"]


def test_a_bucket_that_takes_no_results_ends_the_job(bucket: str) -> None:
    with pytest.raises(OutputError, match=r"s3://no-such-bucket-here/out/p0000.*cannot be written"):
        segmented(f"{bucket}/pictures", "s3://no-such-bucket-here/out")


def test_tables_of_a_bucket_are_gone_on_with(bucket: str, s3: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    reports = segmented(f"{bucket}/pictures", f"{bucket}/out", formats=["parquet"])
    assert [report.status for report in reports] == ["failed"] + ["written"] * 5
    reports = segmented(f"{bucket}/pictures", f"{bucket}/out", formats=["parquet"], resume=True)
    assert [report.status for report in reports] == ["failed"] + ["skipped"] * 5
    files = s3.find(f"{bucket.removeprefix('s3://')}/out/parquet")
    rows = [row for name in files for row in parquet.read_table(s3.open(name)).to_pylist()]
    assert sorted(row["picture"] for row in rows) == [
        f"{bucket}/pictures/p000{i}.png" for i in range(5)
    ]


def test_workers_of_ray_read_and_write_buckets(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed: make test-bulk")
    if ray.is_initialized():  # its workers have the variables of the process that started them
        ray.shutdown()
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), str(root / "src")]))
    paths = find_in_bucket(f"{bucket}/pictures", recursive=True)
    job = BulkSegmentJob.plan(
        paths, VOCABULARY, out=f"{bucket}/out", formats=FORMATS, workforce=Workforce(workers=1)
    )
    report = job.run(segmenter_of_colours())
    assert [one.status for one in report.pictures].count("written") == 6
    names = {Path(name).name for name in s3.find(f"{bucket.removeprefix('s3://')}/out/more")}
    assert names == {"deep.json", "deep.labels.png"}


def test_a_bucket_that_is_not_there_or_refuses_is_one_line(bucket: str) -> None:
    with pytest.raises(ImageError, match=r"s3://no-such-bucket-here/a.*: check"):
        find_in_bucket("s3://no-such-bucket-here/a", recursive=False)
    with pytest.raises(ImageError, match="holds no picture: check the address"):
        find_in_bucket(f"{bucket}/nothing", recursive=True)
    with pytest.raises(OutputError, match=r"s3://no-such-bucket-here/a/x cannot be written"):
        Folder("s3://no-such-bucket-here/a").write("x", b"1", is_own=True)
    with pytest.raises(ConfigError, match="no address of a known kind"):
        find_in_bucket("sss://bucket/a", recursive=False)


def test_a_picture_that_has_gone_since_is_a_failure(bucket: str, s3: Any, tmp_path: Path) -> None:
    paths = find_in_bucket(f"{bucket}/pictures", recursive=False)
    job = BulkSegmentJob.plan(
        paths, VOCABULARY, out=f"{bucket}/out", formats=FORMATS, workforce=Workforce()
    ).job
    s3.rm_file(f"{bucket.removeprefix('s3://')}/pictures/p0001.png")
    results = BucketResults(Folder(f"{bucket}/out"), FORMATS, job.format_options)
    with fetched_pictures(job.outputs, 10**6) as pictures:
        reports = job.run_part(segmenter_of_colours(), pictures, results)
    assert [report.status for report in reports] == ["failed", "written", "failed"] + [
        "written"
    ] * 3
    assert "p0001.png cannot be read" in reports[2].error
    del tmp_path
