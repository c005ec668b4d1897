"""The seconds and the time limit of an epoch, by a clock that moves only when the workload says so."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.records import CheckpointRef, WorkUnit
from tests.workers.conftest import PATIENCE_S
from tests.workers.toys import Clock, Toy, assignment, files, job, points, run_one, run_unit, section
from workers import attempt, leg, unit
from workers.hyperparameters import Hyperparameters
from workers.publisher import Publisher
from workers.workload import Batch, Splits, Training

HERE = "tests.workers.test_leg_time"
CLOCK = Clock()


class Timed(Toy):
    """Takes 1 s to begin, 10 s a batch, 100 s to encode its checkpoint and 1000 s to evaluate."""

    batches = 0

    def begin(self, *arguments: Any, **named: Any) -> Training:
        CLOCK.now += 1
        return super().begin(*arguments, **named)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        CLOCK.now += 10
        Timed.batches += 1
        return super().loss(model, batch, hp)

    def checkpoint(self, training: Training) -> bytes:
        CLOCK.now += 100
        return super().checkpoint(training)

    def evaluate(self, training: Training, split: str) -> dict[str, float]:
        CLOCK.now += 1000
        return super().evaluate(training, split)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg, "time", CLOCK)
    monkeypatch.setattr(unit, "time", CLOCK)
    monkeypatch.setattr(attempt, "time", CLOCK)
    monkeypatch.setattr(unit, "_idle_since", CLOCK.now)
    monkeypatch.setattr(unit, "ready_at", lambda: 0.0)
    monkeypatch.setattr(Timed, "batches", 0)


def test_each_part_of_an_epoch_is_timed_by_itself(tmp_path: Path) -> None:
    about = job(tmp_path, section(f"{HERE}:Timed"))
    outcome = run_one(about, assignment())
    assert outcome.seconds == {"prepare": 0, "load": 1, "train": 60, "save": 100, "eval": 1000}
    again = run_one(about, assignment())
    assert again.seconds == {"load": 1, "train": 60, "save": 100, "eval": 1000}


def test_loading_the_data_counts_as_preparing_and_reading_the_checkpoint_as_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_data(toy: Toy, root: str | None) -> Splits:
        CLOCK.now += 5
        return Splits(points(100, 1), points(30, 2))

    def slow_read(store: CheckpointStore, ref: CheckpointRef) -> bytes:
        CLOCK.now += 7
        return store.read(ref)

    parent = run_one(job(tmp_path), assignment()).checkpoint
    monkeypatch.setattr(Timed, "data", slow_data)
    monkeypatch.setattr(leg, "read_checkpoint", slow_read)
    outcome = run_one(job(tmp_path, section(f"{HERE}:Timed")), assignment(parent))
    assert (outcome.seconds["prepare"], outcome.seconds["load"]) == (5, 7 + 1)


def test_the_checkpoint_is_published_while_the_member_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluating, published = threading.Event(), threading.Event()
    write, evaluate = CheckpointStore.write, Toy.evaluate

    def waiting_write(*arguments: Any) -> None:
        assert evaluating.wait(PATIENCE_S), "published before evaluation began"
        write(*arguments)
        published.set()

    def waiting_evaluate(*arguments: Any) -> dict[str, float]:
        evaluating.set()
        assert published.wait(PATIENCE_S), "evaluated before anything was published"
        return evaluate(*arguments)

    monkeypatch.setattr(CheckpointStore, "write", waiting_write)
    monkeypatch.setattr(Toy, "evaluate", waiting_evaluate)
    outcome = run_one(job(tmp_path), assignment())
    assert outcome.status == "done", outcome.error


def test_of_publishing_only_what_outlasts_the_evaluation_counts_as_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = threading.Event()
    write, drain = CheckpointStore.write, Publisher.drain

    def slow_write(*arguments: Any) -> None:
        assert ending.wait(PATIENCE_S)
        CLOCK.now += 3
        write(*arguments)

    def watched_drain(publisher: Publisher) -> None:
        ending.set()
        drain(publisher)

    monkeypatch.setattr(CheckpointStore, "write", slow_write)
    monkeypatch.setattr(Publisher, "drain", watched_drain)
    outcome = run_one(job(tmp_path, section(f"{HERE}:Timed")), assignment())
    assert outcome.seconds == {"prepare": 0, "load": 1, "train": 60, "save": 103, "eval": 1000}
    assert outcome.hidden_s == 1000


def test_the_seconds_of_all_members_of_a_unit_are_all_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly_missed(store: CheckpointStore, ref: CheckpointRef) -> bytes:
        CLOCK.now += 7
        raise CheckpointError(f"{ref.name} is missing")

    monkeypatch.setattr(leg, "read_checkpoint", slowly_missed)
    away = CheckpointRef("g9s9-a1-000000000000.safetensors", 7, "0" * 64)
    given = [
        assignment(member="g0s0"),
        assignment(member="g0s1", training_seed=8),
        assignment(away, member="g0s2"),
        assignment(member="g0s3", hyperparameters={}),
        assignment(member="g0s4", training_seed=9),
    ]
    began = CLOCK.now
    reports = run_unit(job(tmp_path, section(f"{HERE}:Timed")), given)
    kinds = ["lost" if "lost" in report else report["outcome"]["status"] for report in reports.values()]
    assert kinds == ["done", "done", "lost", "failed", "done"]
    seconds = [
        r["seconds"] if "lost" in r else sum(r["outcome"]["seconds"].values()) for r in reports.values()
    ]
    assert seconds == [1161, 1161, 7, 1, 1161]
    assert sum(seconds) == CLOCK.now - began
    assert [report.get("started_at") for report in reports.values()] == [
        began,
        began + 1161,
        None,
        began + 2 * 1161 + 7,
        began + 2 * 1161 + 7 + 1,
    ]


def test_time_without_work_is_the_first_members_wait_from_the_last_unit_or_the_runs_beginning_on(
    tmp_path: Path,
) -> None:
    about = job(tmp_path, section(f"{HERE}:Timed"))
    run_unit(about, [assignment()])
    CLOCK.now += 20
    reports = run_unit(about, [assignment(), assignment(member="g0s1")])
    assert [report["outcome"]["seconds"].get("wait") for report in reports.values()] == [20, None]
    CLOCK.now += 20
    found: list[Any] = []
    unit.carry_out(WorkUnit(about, [assignment()], since=CLOCK.now - 5), found.append)
    assert found[-1]["outcome"]["seconds"]["wait"] == 5


def test_an_epoch_over_its_time_limit_ends_with_the_limit_and_the_key_it_is_from(tmp_path: Path) -> None:
    limited = job(tmp_path, section(f"{HERE}:Timed"), epoch_timeout_s=25.0)
    with pytest.raises(OSError) as caught:
        run_one(limited, assignment())
    assert str(caught.value) == "TimeoutError: the epoch took longer than limits.epoch_timeout_s = 25"
    assert Timed.batches == 3
    assert list(files(tmp_path)) == []


def test_an_epoch_within_its_time_limit_is_done(tmp_path: Path) -> None:
    limited = job(tmp_path, section(f"{HERE}:Timed"), epoch_timeout_s=60.0)
    assert run_one(limited, assignment()).status == "done"


def test_a_leg_of_several_epochs_has_the_time_of_all_of_them(tmp_path: Path) -> None:
    within = job(tmp_path, section(f"{HERE}:Timed"), epoch_timeout_s=60.0, longest_leg=2)
    assert run_one(within, assignment()).status == "done"
    Timed.batches = 0
    over = job(tmp_path, section(f"{HERE}:Timed"), epoch_timeout_s=40.0, longest_leg=2)
    with pytest.raises(OSError, match=r"limits\.epoch_timeout_s = 40"):
        run_one(over, assignment())
    assert Timed.batches == 9


class Long(Toy):
    def data(self, root: str | None) -> Splits:
        return Splits(points(20_000, 1), points(2_000, 2))


def test_the_seconds_add_up_to_about_the_wall_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg, "time", time)
    monkeypatch.setattr(unit, "time", time)
    monkeypatch.setattr(attempt, "time", time)
    monkeypatch.setattr(unit, "_idle_since", time.time())
    torch.set_num_threads(1)
    began = time.monotonic()
    outcome = run_one(job(tmp_path, section(f"{HERE}:Long", batch_size=100)), assignment())
    wall = time.monotonic() - began
    assert 0.8 * wall < sum(outcome.seconds.values()) <= wall + 1e-3
    assert min(outcome.seconds.values()) > 0
