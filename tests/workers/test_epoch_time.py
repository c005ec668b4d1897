"""The seconds and the time limit of an epoch, by a clock that moves only when the workload says so."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import CheckpointRef
from tests.workers.conftest import PATIENCE_S
from tests.workers.toys import Clock, Toy, assignment, files, job, points, section
from workers import epoch
from workers.epoch import run_epoch
from workers.hyperparameters import Hyperparameters
from workers.workload import Batch, Splits, Training

HERE = "tests.workers.test_epoch_time"
CLOCK = Clock()


class Timed(Toy):
    """Takes 1 s to begin, 10 s a batch, 100 s to encode its checkpoint and 1000 s to evaluate."""

    batches = 0

    def begin(self, hyperparameters: Mapping[str, Any], training_seed: int, parent: bytes | None) -> Training:
        CLOCK.now += 1
        return super().begin(hyperparameters, training_seed, parent)

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
    monkeypatch.setattr(epoch, "time", CLOCK)
    monkeypatch.setattr(Timed, "batches", 0)


def test_each_part_of_an_epoch_is_timed_by_itself(tmp_path: Path) -> None:
    outcome = run_epoch(assignment(job(tmp_path, section(f"{HERE}:Timed"))))
    assert outcome.seconds == {"load": 1, "train": 60, "save": 100, "eval": 1000}


def test_loading_the_data_and_the_checkpoint_counts_as_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_data(toy: Toy, root: str | None) -> Splits:
        CLOCK.now += 5
        return Splits(points(100, 1), points(30, 2))

    def slow_read(store: CheckpointStore, ref: CheckpointRef) -> bytes:
        CLOCK.now += 7
        return store.read(ref)

    parent = run_epoch(assignment(job(tmp_path))).checkpoint
    monkeypatch.setattr(Timed, "data", slow_data)
    monkeypatch.setattr(epoch, "read_checkpoint", slow_read)
    outcome = run_epoch(assignment(job(tmp_path, section(f"{HERE}:Timed")), parent))
    assert outcome.seconds["load"] == 5 + 7 + 1


def test_the_checkpoint_is_published_while_the_member_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluating, published = threading.Event(), threading.Event()
    publish, evaluate = CheckpointStore.publish, Toy.evaluate

    def waiting_publish(*arguments: Any) -> CheckpointRef:
        assert evaluating.wait(PATIENCE_S), "published before evaluation began"
        ref = publish(*arguments)
        published.set()
        return ref

    def waiting_evaluate(*arguments: Any) -> dict[str, float]:
        evaluating.set()
        assert published.wait(PATIENCE_S), "evaluated before anything was published"
        return evaluate(*arguments)

    monkeypatch.setattr(CheckpointStore, "publish", waiting_publish)
    monkeypatch.setattr(Toy, "evaluate", waiting_evaluate)
    outcome = run_epoch(assignment(job(tmp_path)))
    assert outcome.status == "done", outcome.error


def test_of_publishing_only_what_outlasts_the_evaluation_counts_as_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = threading.Event()
    publish = CheckpointStore.publish

    class Watched(Clock):
        def monotonic(self) -> float:
            if CLOCK.now > started + 1000:
                timed.set()
            return CLOCK.now

    def slow_publish(*arguments: Any) -> CheckpointRef:
        assert timed.wait(PATIENCE_S)
        CLOCK.now += 3
        return publish(*arguments)

    started = CLOCK.now
    monkeypatch.setattr(epoch, "time", Watched())
    monkeypatch.setattr(CheckpointStore, "publish", slow_publish)
    outcome = run_epoch(assignment(job(tmp_path, section(f"{HERE}:Timed"))))
    assert outcome.seconds == {"load": 1, "train": 60, "save": 103, "eval": 1000}


def test_an_epoch_over_its_time_limit_ends_with_the_limit_and_the_key_it_is_from(tmp_path: Path) -> None:
    limited = job(tmp_path, section(f"{HERE}:Timed"), epoch_timeout_s=25.0)
    with pytest.raises(TimeoutError) as caught:
        run_epoch(assignment(limited))
    assert str(caught.value) == "the epoch took longer than limits.epoch_timeout_s = 25"
    assert Timed.batches == 3
    assert list(files(tmp_path)) == []


def test_an_epoch_within_its_time_limit_is_done(tmp_path: Path) -> None:
    limited = job(tmp_path, section(f"{HERE}:Timed"), epoch_timeout_s=60.0)
    assert run_epoch(assignment(limited)).status == "done"


class Long(Toy):
    def data(self, root: str | None) -> Splits:
        return Splits(points(20_000, 1), points(2_000, 2))


def test_the_seconds_add_up_to_about_the_wall_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch, "time", time)
    torch.set_num_threads(1)
    began = time.monotonic()
    outcome = run_epoch(assignment(job(tmp_path, section(f"{HERE}:Long", batch_size=100))))
    wall = time.monotonic() - began
    assert 0.8 * wall < sum(outcome.seconds.values()) <= wall + 1e-5
    assert min(outcome.seconds.values()) > 0
