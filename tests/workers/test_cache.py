"""What a worker process keeps between members."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evodevo.errors import Unfit, UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.records import Job
from tests.golden import raises_golden
from tests.workers.toys import TOY, Toy, job, section
from workers import cache, digests
from workers.cache import read_checkpoint, remember_checkpoint, workload_for
from workers.workload import Splits


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The batch sizes of the toys that loaded their data, in order."""
    found: list[int] = []
    load = Toy.data

    def counted(toy: Toy, root: str | None) -> Splits:
        found.append(toy.batch_size)
        return load(toy, root)

    monkeypatch.setattr(Toy, "data", counted)
    yield found


def sized(directory: Path, batch_size: int, **changed: Any) -> Job:
    return job(directory, section(TOY, batch_size=batch_size), **changed)


def test_the_data_are_loaded_once_for_all_members_of_a_run(tmp_path: Path, loads: list[int]) -> None:
    workloads = {id(workload_for(sized(tmp_path, 8))[0]) for _ in range(5)}
    assert len(workloads) == 1
    assert loads == [8]


def test_a_workload_is_new_when_its_data_were_loaded_just_now(tmp_path: Path) -> None:
    assert [workload_for(sized(tmp_path, size))[1] for size in (8, 8, 9, 8)] == [True, False, True, False]


def test_what_does_not_concern_the_workload_shares_it(tmp_path: Path, loads: list[int]) -> None:
    first, _ = workload_for(sized(tmp_path, 8))
    other = sized(tmp_path, 8, run="other", metric="validation_accuracy", epoch_timeout_s=3.0, threads=2)
    assert workload_for(other) == (first, False)
    assert loads == [8]


def test_other_options_or_other_data_are_another_workload(tmp_path: Path, loads: list[int]) -> None:
    first, _ = workload_for(sized(tmp_path, 8))
    assert workload_for(sized(tmp_path, 9))[0] is not first
    assert workload_for(sized(tmp_path, 8, data_root=str(tmp_path)))[0] is not first
    assert loads == [8, 9, 8]


def test_the_last_two_workloads_that_were_used_are_kept(tmp_path: Path, loads: list[int]) -> None:
    for batch_size in (1, 2, 1, 3):  # 3 pushes out 2, the one unused for longest
        workload_for(sized(tmp_path, batch_size))
    assert loads == [1, 2, 3]
    workload_for(sized(tmp_path, 1))
    assert loads == [1, 2, 3]
    workload_for(sized(tmp_path, 2))
    assert loads == [1, 2, 3, 2]


def test_a_workload_whose_data_could_not_be_loaded_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Toy, "data", lambda *_: (_ for _ in ()).throw(OSError("the disk is away")))
        with pytest.raises(OSError, match="the disk is away"):
            workload_for(job(tmp_path))
    toy, is_new = workload_for(job(tmp_path))
    assert is_new
    assert isinstance(toy, Toy)
    assert len(toy.splits.train[0]) == 100


def test_a_workload_that_cannot_be_built_is_refused_every_time(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(UsageError):
            workload_for(job(tmp_path, section(TOY, width=1)))


def test_a_checkpoint_is_read_from_the_store_once(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    ref = store.publish("g0s0-a1", b"weights")
    assert read_checkpoint(store, ref) == b"weights"
    (tmp_path / ref.name).unlink()
    assert read_checkpoint(store, ref) == b"weights"


def test_a_checkpoint_that_was_remembered_is_not_read_at_all(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    ref = store.publish("g0s0-a1", b"weights")
    remember_checkpoint(store, ref, b"weights")
    (tmp_path / ref.name).unlink()
    assert read_checkpoint(store, ref) == b"weights"


def test_a_checkpoint_that_is_damaged_is_not_remembered(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    ref = store.publish("g0s0-a1", b"weights")
    (tmp_path / ref.name).write_bytes(b"wEights")
    for _ in range(2):
        with raises_golden("checkpoints/altered", CheckpointError, tmp_path, name=ref.name):
            read_checkpoint(store, ref)


def test_one_name_in_two_stores_is_two_checkpoints(tmp_path: Path) -> None:
    one, two = (CheckpointStore(str(tmp_path / name)) for name in ("one", "two"))
    ref = one.publish("g0s0-a1", b"of one!")
    remember_checkpoint(two, ref, b"of two!")
    assert read_checkpoint(one, ref) == b"of one!"


def test_the_checkpoints_unused_for_longest_go_when_there_are_too_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHECKPOINTS_BUDGET_BYTES", 300)
    store = CheckpointStore(str(tmp_path))
    a, b, c, d = (store.publish(f"g0s{n}-a1", bytes([n]) * 100) for n in range(4))
    for ref in (a, b, c, a):
        read_checkpoint(store, ref)
    read_checkpoint(store, d)  # now b is the one unused for longest
    for path in tmp_path.iterdir():
        path.unlink()
    for ref in (a, c, d):
        read_checkpoint(store, ref)
    with pytest.raises(CheckpointError):
        read_checkpoint(store, b)


def test_a_checkpoint_larger_than_the_budget_is_kept_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHECKPOINTS_BUDGET_BYTES", 10)
    store = CheckpointStore(str(tmp_path))
    small, large = store.publish("g0s0-a1", b"small"), store.publish("g0s1-a1", b"larger than ten bytes")
    read_checkpoint(store, small)
    read_checkpoint(store, large)
    for path in tmp_path.iterdir():
        path.unlink()
    assert read_checkpoint(store, large) == b"larger than ten bytes"
    with pytest.raises(CheckpointError):
        read_checkpoint(store, small)


def test_a_worker_takes_no_part_in_a_run_with_other_data_and_looks_again_when_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job(tmp_path)
    workload, _ = cache.workload_for(first)
    data = digests.of(workload, first.seed)
    assert cache.workload_for(job(tmp_path, data=data)) == (workload, False)
    other = {**data, "validation": "0" * 16}
    with raises_golden("cache/another-validation-split", Unfit):
        cache.workload_for(job(tmp_path, data=other))
    again, is_new = cache.workload_for(job(tmp_path, data=data))
    assert is_new
    assert again is not workload
    monkeypatch.setattr(digests, "of", lambda workload, seed: other)
    cache._workloads.clear()
    assert cache.workload_for(job(tmp_path, data=other))[1]
    assert not cache.workload_for(job(tmp_path, data=other))[1]
