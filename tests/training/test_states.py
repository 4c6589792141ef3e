"""Saved states: whole or not at all, the newest and the best kept, others' refused."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from escnet.errors import ConfigError, OutputError, WeightsError
from escnet.training.states import SavedStates, check_same, check_shared, differences

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def state(step: int) -> dict[str, Any]:
    return {
        "of": {"recipe": {"training": {"steps": 9}}},
        "step": step,
        "trained": {"weight": torch.full((3,), float(step))},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
    }


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def no_space(*_: object, **__: object) -> None:
    raise FULL


@pytest.fixture
def states(tmp_path: Path) -> SavedStates:
    """Two states, which is as many as are kept."""
    states = SavedStates(tmp_path, keep=2)
    for step in (5, 10):
        states.save(step, state(step))
    return states


def test_a_run_without_a_state_has_none(tmp_path: Path) -> None:
    states = SavedStates(tmp_path, keep=2)
    assert (states.paths(), states.load_newest(), states.best()) == ([], None, None)


def test_what_was_saved_comes_back(states: SavedStates) -> None:
    found = states.load_newest()
    assert found is not None
    assert found["step"] == 10
    assert torch.equal(found["trained"]["weight"], torch.tensor([10.0, 10.0, 10.0]))
    assert found["optimizer"]["state"][0]["step"] == 1.0
    assert found["of"] == state(10)["of"]


def test_the_newest_are_kept_and_older_ones_dropped(states: SavedStates) -> None:
    path = states.save(100_000, state(100_000))
    assert path.name == "step-00100000.pt"
    assert names_in(states.folder) == ["step-00000010.pt", "step-00100000.pt"]
    assert [path.name for path in states.paths()] == names_in(states.folder)


def test_keeping_one_leaves_the_last_alone(states: SavedStates, tmp_path: Path) -> None:
    SavedStates(tmp_path, keep=1).save(15, state(15))
    assert names_in(states.folder) == ["step-00000015.pt"]


def test_saving_tidies_what_a_killed_process_left(states: SavedStates) -> None:
    left = states.folder / ".step-00000010.pt.0123abcd.part"
    left.write_bytes(b"half")
    states.save(15, state(15))
    assert not left.exists()


@pytest.mark.parametrize("where", ["open", "write", "fsync", "replace"])
def test_a_full_disk_is_one_clear_error_and_the_old_state_still_loads(
    states: SavedStates, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = {path: path.read_bytes() for path in states.paths()}
    with monkeypatch.context() as patch:
        if where == "open":
            patch.setattr(Path, "touch", no_space)
        elif where == "write":
            patch.setattr(Path, "open", lambda *_: Disk())
        elif where == "fsync":
            patch.setattr(os, "fsync", no_space)
        else:
            patch.setattr(Path, "replace", no_space)
        with pytest.raises(OutputError) as error:
            states.save(15, state(15))
    assert "no space left on device" in str(error.value)
    assert "free some space" in str(error.value)
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in states.paths()} == before
    assert names_in(states.folder) == ["step-00000005.pt", "step-00000010.pt"]  # nothing half
    found = states.load_newest()
    assert found is not None
    assert found["step"] == 10
    states.save(15, state(15))  # and once there is space again, it goes on
    assert [path.name for path in states.paths()] == ["step-00000010.pt", "step-00000015.pt"]


class Disk:
    """A file on a disk that is full."""

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *_: object) -> None: ...

    def writelines(self, _content: list[bytes]) -> None:
        raise FULL


def test_the_best_state_outlives_its_time(states: SavedStates) -> None:
    assert states.mark_best(10, 0.5)
    for step in (15, 20, 25):
        states.save(step, state(step))
        assert not states.mark_best(step, 0.5 if step == 15 else 0.4)  # as good is no better
    assert states.best() == {"step": 10, "miou": 0.5}
    best = torch.load(states.folder / "best.pt", weights_only=True)
    assert best["step"] == 10
    assert states.mark_best(25, 0.6)
    assert states.best() == {"step": 25, "miou": 0.6}
    assert torch.load(states.folder / "best.pt", weights_only=True)["step"] == 25
    assert [path.name for path in states.paths()] == ["step-00000020.pt", "step-00000025.pt"]


def test_the_best_state_is_a_copy_where_the_disk_knows_no_second_names(
    states: SavedStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert states.mark_best(10, 0.5)
    assert (states.folder / "best.pt").read_bytes() == states.paths()[-1].read_bytes()


def test_a_full_disk_leaves_the_earlier_best_and_no_half_copy(
    states: SavedStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.mark_best(5, 0.5)

    def copy_half(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:100])
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", no_space)
        patch.setattr(shutil, "copyfile", copy_half)
        with pytest.raises(OutputError, match=r"best\.pt cannot be written \(no space left"):
            states.mark_best(10, 0.9)
    assert states.best() == {"step": 5, "miou": 0.5}
    assert torch.load(states.folder / "best.pt", weights_only=True)["step"] == 5
    assert not [name for name in names_in(states.folder) if name.endswith(".part")]


def test_a_best_state_beyond_the_one_that_is_gone_on_from_is_forgotten(
    states: SavedStates,
) -> None:
    states.mark_best(10, 0.9)
    states.forget_best_after(10)
    assert states.best() == {"step": 10, "miou": 0.9}
    states.forget_best_after(9)
    assert states.best() is None
    assert not (states.folder / "best.pt").exists()
    assert states.mark_best(5, 0.1)


def test_an_end_between_the_best_state_and_its_score_leaves_no_wrong_pair(
    states: SavedStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.mark_best(5, 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", no_space)  # what the score is written with
        with pytest.raises(OutputError, match=r"best\.json cannot be written"):
            states.mark_best(10, 0.9)
    assert states.best() is None
    assert states.mark_best(10, 0.9)
    assert states.best() == {"step": 10, "miou": 0.9}
    assert torch.load(states.folder / "best.pt", weights_only=True)["step"] == 10


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"step": 3}', "\x00"])
def test_a_damaged_record_of_the_best_is_none(states: SavedStates, content: str) -> None:
    (states.folder / "best.json").write_text(content)
    assert states.best() is None
    assert states.mark_best(10, 0.1)
    assert json.loads((states.folder / "best.json").read_text()) == {"step": 10, "miou": 0.1}


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "other", "code"])
def test_a_damaged_state_is_refused_with_the_one_before_it(
    states: SavedStates, damage: str
) -> None:
    newest = states.paths()[-1]
    content = newest.read_bytes()
    if damage == "empty":
        newest.write_bytes(b"")
    elif damage == "cut":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        newest.write_bytes(bytes(255 - byte for byte in content))
    elif damage == "other":
        torch.save([1, 2], newest)
    else:
        torch.save({"step": Path("x")}, newest)  # a pickle that would run code
    with pytest.raises(WeightsError) as error:
        states.load_newest()
    message = str(error.value)
    assert message.startswith(f"state {newest} is damaged (")
    assert message.endswith("delete it, and --resume goes on from step-00000005.pt")
    assert "\n" not in message
    newest.unlink()
    found = states.load_newest()
    assert found is not None
    assert found["step"] == 5


def test_a_damaged_state_that_is_the_only_one_starts_the_run_anew(tmp_path: Path) -> None:
    states = SavedStates(tmp_path, keep=2)
    states.save(5, state(5)).write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"delete it, and --resume starts the run anew$"):
        states.load_newest()


def test_differences_are_found_at_any_depth() -> None:
    one = {"a": 1, "b": {"c": [1, 2], "d": {"e": "x"}}, "only": True}
    other = {"a": 1, "b": {"c": [2, 1], "d": {"e": "y", "new": 0}}, "more": None}
    assert sorted(differences(one, other)) == [
        ("b.c.0", 1, 2),
        ("b.c.1", 2, 1),
        ("b.d.e", "x", "y"),
        ("b.d.new", None, 0),
        ("only", True, None),
    ]
    assert list(differences(one, one)) == []


def test_a_difference_within_a_list_is_named_by_its_place(tmp_path: Path) -> None:
    source = {"data": "folder", "root": "/a/long/way/to/some/pictures", "only": "", "weight": 1.0}
    saved = {"recipe": {"pictures": {"sources": [source, source]}}}
    wanted = {"recipe": {"pictures": {"sources": [source, {**source, "weight": 2.0}, source]}}}
    with pytest.raises(ConfigError, match="was another one") as error:
        check_same(tmp_path, saved, wanted)
    assert "pictures.sources.1.weight: 1.0 there, 2.0 here" in str(error.value)
    assert "pictures.sources.2: null there, {" in str(error.value)
    assert "sources.0" not in str(error.value)


def test_another_recipe_or_network_is_refused_with_both_values(tmp_path: Path) -> None:
    saved = {"recipe": {"training": {"steps": 80_000, "seed": 0}}, "network": {"num_blocks": 4}}
    wanted = {"recipe": {"training": {"steps": 20_000, "seed": 0}}, "network": {"num_blocks": 2}}
    with pytest.raises(ConfigError) as error:
        check_same(tmp_path, saved, wanted)
    assert str(error.value) == (
        f"the run in {tmp_path} was another one (network.num_blocks: 4 there, 2 here; "
        "training.steps: 80000 there, 20000 here): give another run folder, or the same recipe"
    )


def test_of_many_differences_some_are_named_and_long_values_are_cut(tmp_path: Path) -> None:
    saved = {"recipe": {f"key{index}": "x" * 100 for index in range(9)}}
    with pytest.raises(ConfigError, match="; and 5 more") as error:
        check_same(tmp_path, saved, {"recipe": {}})
    assert len(str(error.value)) < 500
    assert 'key0: "xxx' in str(error.value)
    assert "xxx… there, null here" in str(error.value)


def test_what_changes_no_loss_may_differ(tmp_path: Path) -> None:
    saved = {
        "recipe": {
            "records": {"keep_states": 2},
            "training": {"save_every": 100, "seed": 1},
            "pictures": {"workers": 4},
        }
    }
    wanted = {
        "recipe": {
            "records": {"keep_states": 9},
            "training": {"save_every": 5, "seed": 1},
            "pictures": {"workers": 0},
        }
    }
    check_same(tmp_path, saved, wanted)
    wanted["recipe"]["training"]["seed"] = 2
    with pytest.raises(ConfigError, match=r"\(training\.seed: 1 there, 2 here\)"):
        check_same(tmp_path, saved, wanted)


def test_processes_have_to_find_the_same_state(states: SavedStates, tmp_path: Path) -> None:
    (states.folder / "step-00000010 (copy).pt").write_bytes(b"x")
    assert states.newest_step() == 10
    assert SavedStates(tmp_path / "new", keep=1).newest_step() is None
    check_shared(tmp_path, [10, 10])
    check_shared(tmp_path, [None, None, None])
    with pytest.raises(
        ConfigError,
        match=r"\(step 10 in process 0, none in process 1\): give a run folder that all machines",
    ):
        check_shared(tmp_path, [10, None])
    with pytest.raises(ConfigError, match=r"step 5 in process 3, and so on\)"):
        check_shared(tmp_path, [10, 10, 10, 5, 5, 5])
