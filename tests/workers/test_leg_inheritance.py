"""Children of an α: its checkpoint is read, from memory or from the store, and never touched."""

import hashlib
from collections import OrderedDict
from pathlib import Path

import pytest

from evodevo.run.records import CheckpointRef
from tests.workers.toys import HYPERPARAMETERS, Toy, assignment, files, job, prepared, run_one, trained
from workers import cache


@pytest.fixture
def alpha(tmp_path: Path) -> CheckpointRef:
    ref = run_one(job(tmp_path), assignment()).checkpoint
    assert ref
    return ref


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker process that never saw the α."""
    monkeypatch.setattr(cache, "_checkpoints", OrderedDict())
    monkeypatch.setattr(cache, "_checkpoints_bytes", 0)


def child(directory: Path, alpha: CheckpointRef, **changed: object) -> bytes:
    """The bytes of a child's checkpoint file."""
    given = assignment(alpha, member="g1s0", epoch=1, training_seed=8, **changed)
    outcome = run_one(job(directory), given)
    assert outcome.checkpoint, outcome.error
    return (directory / "params" / outcome.checkpoint.name).read_bytes()


def test_an_alpha_from_memory_and_from_the_store_give_the_same_child_bit_for_bit(
    tmp_path: Path, alpha: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "params" / alpha.name
    hidden = file.rename(tmp_path / "hidden")
    from_memory = child(tmp_path, alpha)  # it cannot come from anywhere else
    hidden.rename(file)
    forget(monkeypatch)
    assert child(tmp_path, alpha) == from_memory
    assert from_memory == trained(prepared(Toy()), seed=8, parent=file.read_bytes())


def test_a_child_continues_from_its_alpha_and_is_not_a_fresh_start(
    tmp_path: Path, alpha: CheckpointRef
) -> None:
    started = child(tmp_path, alpha)
    assert started != trained(prepared(Toy()), seed=8)
    assert started != child(tmp_path, alpha, hyperparameters={**HYPERPARAMETERS, "learning_rate": 0.01})


@pytest.mark.parametrize("from_memory", [True, False])
def test_ten_children_of_one_alpha_leave_it_as_it_was_and_have_names_of_their_own(
    tmp_path: Path, alpha: CheckpointRef, monkeypatch: pytest.MonkeyPatch, from_memory: bool
) -> None:
    file = tmp_path / "params" / alpha.name
    before = file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino
    first = child(tmp_path, alpha)
    for _ in range(9):  # one member and one attempt, as when an attempt that was given up comes late
        if not from_memory:
            forget(monkeypatch)
        assert child(tmp_path, alpha) == first
    assert (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino) == before
    assert len(list(files(tmp_path))) == 11
    for (_, name), data in cache._checkpoints.items():
        if name == alpha.name:
            assert hashlib.sha256(data).hexdigest() == alpha.sha256


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "bytes instead of"),
        (lambda data: b"", "has 0 bytes instead of"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "was altered"),
        (None, "is missing"),
    ],
    ids=["cut short", "empty", "one bit", "deleted"],
)
def test_a_damaged_alpha_is_an_error_that_names_the_file(
    tmp_path: Path, alpha: CheckpointRef, monkeypatch: pytest.MonkeyPatch, damage: object, message: str
) -> None:
    file = tmp_path / "params" / alpha.name
    if callable(damage):
        file.write_bytes(damage(file.read_bytes()))
    else:
        file.unlink()
    forget(monkeypatch)
    with pytest.raises(OSError, match=f"^DamagedCheckpointError: .*{message}") as caught:
        child(tmp_path, alpha)
    assert alpha.name in str(caught.value)
