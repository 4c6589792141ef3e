import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from escnet.errors import WeightsError
from escnet.weights import catalog
from escnet.weights.catalog import (
    CATALOG,
    identify,
    origin_of,
    require_local,
)
from escnet.weights.config_file import model_type_in
from escnet.weights.origin import file_sha256

CLIP = "openai/clip-vit-base-patch16"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of the test's own, and a hub where nothing listens."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    _forget_sessions()
    return tmp_path / "cache"


def _forget_sessions() -> None:
    """The hub's client before version 1 keeps a session as it was opened, offline or not."""
    getattr(huggingface_hub.utils, "reset_sessions", lambda: None)()


def put_in_cache(cache: Path, repository: str, names: list[str]) -> Path:
    """Lay files out as the hub's client does."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("0123abcd")
    snapshot = folder / "snapshots/0123abcd"
    snapshot.mkdir(parents=True)
    for name in names:
        (snapshot / name).write_text("content")
    return snapshot


class Hub(ThreadingHTTPServer):
    """As much of a model hub as a download needs, on the loopback interface: one repository."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repository = CLIP
        self.files: dict[str, bytes] = {}


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        content = self.server.files.get(path.rsplit("/", maxsplit=1)[-1])
        if path == f"/api/models/{self.server.repository}":
            siblings = [{"rfilename": name} for name in self.server.files]
            about = {"id": self.server.repository, "sha": "0" * 40, "siblings": siblings}
            content = json.dumps(about).encode()
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')  # noqa: S324
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def use_hub(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    _forget_sessions()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    for module in ("constants", "file_download"):  # which its versions before 1 copy it into
        monkeypatch.setattr(
            f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE",
            endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            raising=False,
        )


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        use_hub(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


def test_every_hash_in_the_catalog_is_one() -> None:
    hashes = [value for known in CATALOG.values() for value in known.sha256.values()]
    assert len(hashes) >= 6
    assert len(set(hashes)) == len(hashes)
    assert all(len(value) == 64 and int(value, 16) for value in hashes)


def test_every_file_with_a_known_size_has_a_known_hash() -> None:
    sizes = {name for known in CATALOG.values() for name in known.size}
    hashes = {name for known in CATALOG.values() for name in known.sha256}
    assert sizes
    assert sizes == hashes


@pytest.mark.parametrize("name", ["folder", "file.pth"])
def test_a_path_that_exists_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if "." in name:
        path.touch()
    else:
        path.mkdir()
    assert require_local(path) == path
    assert require_local(str(path)) == path


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "weights").mkdir()
    assert require_local("~/weights") == tmp_path / "weights"


def test_a_folder_that_is_called_like_the_built_in_model_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mini").mkdir()
    built_in = tmp_path / "package"
    built_in.mkdir()
    (built_in / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalog, "BUILT_IN_FOLDER", built_in)
    assert require_local("mini") == built_in
    assert require_local("./mini") == Path("mini")


def test_an_installation_without_the_built_in_model_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "BUILT_IN_FOLDER", tmp_path / "nothing")
    with pytest.raises(WeightsError, match="built-in model is missing from this installation"):
        require_local("mini")


@pytest.mark.parametrize("name", ["no-such-folder", "a/b/c", "./a/b", "/no/such", "", "a/", "x y"])
@pytest.mark.usefixtures("empty_cache")
def test_what_is_neither_a_path_nor_a_hub_identifier_says_what_would_be(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"hub identifier"):
        require_local(name)


@pytest.mark.parametrize("name", ["~no-such-user/x", "a" * 5000, "b/" * 3000])
def test_a_name_that_no_path_can_have_is_one_short_error(name: str) -> None:
    with pytest.raises(WeightsError, match="no folder or file") as error:
        require_local(name)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("content", ["[" * 200_000, "[1]", '{"model_type": []}', "{"])
def test_settings_that_cannot_be_read_tell_no_type(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert model_type_in(tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert model_type_in(tmp_path) == "clip"


def test_a_published_file_that_is_not_on_the_hub_says_so() -> None:
    with pytest.raises(
        WeightsError,
        match=r"no file 'sam_vit_b_01ec64\.pth' here: get it .*\(https://.*b_01ec64\.pth",
    ):
        require_local("sam_vit_b_01ec64.pth")


def test_what_is_not_on_the_hub_tells_where_else_it_is() -> None:
    elsewhere = [known for known in CATALOG.values() if not known.is_on_hub]
    assert len(elsewhere) >= 6
    assert all(known.published for known in elsewhere)


@pytest.mark.parametrize("tensors", ["model.safetensors", "pytorch_model.bin"])
def test_a_complete_repository_in_the_cache_is_found(empty_cache: Path, tensors: str) -> None:
    snapshot = put_in_cache(empty_cache, CLIP, ["config.json", "tokenizer.json", tensors])
    assert require_local(CLIP) == snapshot


def test_a_repository_that_the_catalog_does_not_know_is_found_too(empty_cache: Path) -> None:
    snapshot = put_in_cache(empty_cache, "someone/model", ["config.json", "model.safetensors"])
    assert require_local("someone/model") == snapshot


def test_offline_the_files_and_the_way_out_are_named(empty_cache: Path) -> None:
    put_in_cache(empty_cache, CLIP, ["config.json"])  # incomplete
    with pytest.raises(WeightsError) as error:
        require_local(CLIP)
    told = (
        "openai/clip-vit-base-patch16 is not on this machine and cannot be fetched "
        "(HF_HUB_OFFLINE is set): put config.json, tokenizer.json, "
        "model.safetensors or pytorch_model.bin of it into a folder, and give the folder instead "
        "of the name"
    )
    assert str(error.value) == told
    assert error.value.for_command_line() == f"{told} (--model FOLDER)"


@pytest.mark.usefixtures("empty_cache")
def test_a_hub_that_does_not_answer_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"\(no model hub reachable\): put config\.json, token"):
        require_local(CLIP)
    assert time.monotonic() - start < 5


@pytest.mark.usefixtures("empty_cache")
def test_what_is_not_here_is_fetched_from_the_hub_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files = {"config.json": b"{}", "tokenizer.json": b"[]", "pytorch_model.bin": b"tensors"}
    folder = require_local(CLIP)
    assert (folder / "pytorch_model.bin").read_bytes() == b"tensors"
    assert (folder / "tokenizer.json").read_bytes() == b"[]"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert require_local(CLIP) == folder


@pytest.mark.parametrize("is_half_there", [False, True])
def test_of_an_unknown_model_that_reads_texts_the_tokenizer_comes_too(
    empty_cache: Path, hub: Hub, is_half_there: bool
) -> None:
    hub.repository = "someone/clip"
    hub.files = {
        "config.json": b'{"text_config": {}}',
        "tokenizer.json": b"[]",
        "model.safetensors": b"tensors",
    }
    if is_half_there:  # left by another program
        folder = put_in_cache(empty_cache, "someone/clip", ["model.safetensors"])
        (folder / "config.json").write_text('{"text_config": {}}')
    found = require_local("someone/clip")
    assert (found / "tokenizer.json").read_bytes() == b"[]"


@pytest.mark.usefixtures("empty_cache")
def test_a_repository_in_openclips_layout_is_fetched_whole(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repository = "someone/eva"
    vision = {"timm_model_name": "eva02_base_patch16_clip_224", "timm_pool": "token"}
    config = {"vision_cfg": {**vision, "timm_proj": None}, "text_cfg": {}, "embed_dim": 512}
    hub.files = {
        "open_clip_config.json": json.dumps({"model_cfg": config}).encode(),
        "open_clip_model.safetensors": b"tensors",
        "tokenizer.json": b"[]",
    }
    found = require_local("someone/eva")
    assert {path.name for path in found.iterdir()} == set(hub.files)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert require_local("someone/eva") == found


def test_offline_a_tokenizer_that_is_lacking_is_named(empty_cache: Path) -> None:
    folder = put_in_cache(empty_cache, "someone/clip", ["model.safetensors"])
    (folder / "config.json").write_text('{"text_config": {}}')
    with pytest.raises(WeightsError, match=r", tokenizer\.json or vocab\.json of it into"):
        require_local("someone/clip")


@pytest.mark.usefixtures("empty_cache")
def test_a_repository_without_tensors_says_what_it_lacks(hub: Hub) -> None:
    hub.files = {"config.json": b"{}", "tokenizer.json": b"[]", "tf_model.h5": b"tensors"}
    with pytest.raises(
        WeightsError, match=r"\(it has no model\.safetensors or pytorch_model\.bin\)"
    ):
        require_local(CLIP)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", b'{"model_type": "siglip2"}', "someone/x holds SigLIP 2 NaFlex, which is"),
        (
            "open_clip_config.json",
            b'{"model_cfg": {"vision_cfg": {"timm_model_name": "fastvit_mci1"}, "text_cfg": {}}}',
            "someone/x holds MobileCLIP in OpenCLIP's layout",
        ),
    ],
)
def test_what_is_not_read_is_refused_before_its_tensors_are_fetched(
    empty_cache: Path, hub: Hub, file: str, content: bytes, message: str
) -> None:
    hub.repository = "someone/x"
    hub.files = {file: content, "tokenizer.json": b"[]", "model.safetensors": b"tensors"}
    with pytest.raises(WeightsError, match=message):
        require_local("someone/x")
    assert not list(empty_cache.rglob("model.safetensors"))


@pytest.mark.usefixtures("empty_cache", "hub")
def test_a_repository_that_the_hub_does_not_have_says_so() -> None:
    with pytest.raises(WeightsError, match=r"\(the hub has no such repository, or it is private\)"):
        require_local("someone/nothing")


def test_a_known_file_is_recognised_by_its_content_not_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "renamed.bin"
    save_file({"a": torch.ones(1)}, path)
    known: Any = catalog.KnownWeights(
        name="published.pth",
        part="SAM",
        licence="Apache-2.0",
        description="what it is",
        sha256={"published.pth": file_sha256(path)},
    )
    monkeypatch.setattr(catalog, "CATALOG", {"published.pth": known})
    origin = origin_of(path, part="SAM")
    assert (origin.name, origin.licence) == ("published.pth", "Apache-2.0")


def test_another_file_under_a_published_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sam_vit_b_01ec64.pth"
    path.write_bytes(b"half of it")
    with pytest.raises(WeightsError, match=r"is not the file that was published .* get it again"):
        identify(path, file_sha256(path))
    assert identify(tmp_path / "other.pth", file_sha256(path)) is None


def test_an_unknown_file_keeps_its_name_and_claims_no_licence(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(b"whatever")
    origin = origin_of(path, part="SAM")
    assert (origin.name, origin.licence) == ("mine.pth", "unknown")
