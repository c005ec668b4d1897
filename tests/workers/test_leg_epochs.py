"""Legs of several epochs, and legs with a number of steps."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evodevo.run.records import Outcome
from tests.workers.toys import HYPERPARAMETERS, Numbered, Toy, assignment, job, prepared, run_one, section
from workers.workload import Batch, Training

HERE = "tests.workers.test_leg_epochs"
BATCHES = 6  # whole ones of 16 among 100 examples
SEEN: list[tuple[float, list[float]]] = []


class Recording(Numbered):
    """Trains nothing; remembers the learning rate and the examples of every step."""

    def step(self, training: Training, batch: Batch) -> Tensor:
        SEEN.append((training.optimizer.param_groups[0]["lr"], batch[0].tolist()))
        return torch.tensor(float(len(SEEN)))


class Idle(Toy):
    def train_batches(self, training: Training) -> Iterator[Batch]:
        yield from ()


@pytest.fixture(autouse=True)
def seen() -> None:
    SEEN.clear()


def recorded(directory: Path, epochs: int = 1, steps: int | None = None, anneal: float = 0.0) -> Outcome:
    about = job(
        directory, section(f"{HERE}:Recording"), metric="validation_mean", longest_leg=epochs, steps=steps
    )
    outcome = run_one(about, assignment(hyperparameters={**HYPERPARAMETERS, "anneal": anneal}))
    assert outcome.status == "done", outcome.error
    return outcome


def data_of(directory: Path, outcome: Outcome) -> bytes:
    assert outcome.checkpoint, outcome.error
    return (directory / "params" / outcome.checkpoint.name).read_bytes()


def test_the_epochs_of_a_leg_are_trained_in_different_orders(tmp_path: Path) -> None:
    recorded(tmp_path, epochs=3)
    examples = [batch for _, batch in SEEN]
    assert len(examples) == 3 * BATCHES
    orders = [examples[at : at + BATCHES] for at in range(0, 3 * BATCHES, BATCHES)]
    for order in orders:
        assert len({number for batch in order for number in batch}) == 16 * BATCHES
    assert all(one != other for one, other in ((orders[0], orders[1]), (orders[1], orders[2])))
    assert orders[0] != orders[2]


def test_a_leg_of_three_epochs_is_one_training_of_three(tmp_path: Path) -> None:
    outcome = run_one(job(tmp_path, longest_leg=3), assignment())
    toy = prepared(Toy())
    training = toy.begin(HYPERPARAMETERS, 7, None)
    losses = [torch.stack(list(toy.train(training))) for _ in range(3)]
    assert data_of(tmp_path, outcome) == toy.checkpoint(training)
    assert [epoch["train_loss"] for epoch in outcome.epochs] == pytest.approx(
        [float(own.mean()) for own in losses]
    )


def test_the_metrics_of_each_epoch_are_told_and_the_last_ones_are_the_legs(tmp_path: Path) -> None:
    outcome = recorded(tmp_path, epochs=3)
    assert outcome.epochs == [{"train_loss": 3.5}, {"train_loss": 9.5}, {"train_loss": 15.5}]
    assert outcome.metrics["train_loss"] == 15.5


@pytest.mark.parametrize("steps", [1, 5, 6, 7, 12, 15])
def test_a_leg_given_in_steps_trains_exactly_these_whatever_an_epoch_has(tmp_path: Path, steps: int) -> None:
    recorded(tmp_path, epochs=3)
    longer = SEEN[:]
    SEEN.clear()
    outcome = recorded(tmp_path, steps=steps)
    assert longer[:steps] == SEEN
    begun = -(-steps // BATCHES)
    assert len(outcome.epochs or [outcome.metrics]) == begun
    assert (begun > 1) == bool(outcome.epochs)


def test_a_leg_of_as_many_steps_as_an_epoch_has_is_an_epoch(tmp_path: Path) -> None:
    by_steps, by_epochs = (
        run_one(job(tmp_path, **legs), assignment()) for legs in ({"steps": BATCHES * 2}, {"longest_leg": 2})
    )
    assert data_of(tmp_path, by_steps) == data_of(tmp_path, by_epochs)
    assert by_steps.metrics == by_epochs.metrics


@pytest.mark.parametrize(("epochs", "steps"), [(1, None), (3, None), (1, 4), (1, 15)])
def test_anneal_falls_over_the_whole_leg(tmp_path: Path, epochs: int, steps: int | None) -> None:
    recorded(tmp_path, epochs, steps, anneal=0.8)
    count = steps or epochs * BATCHES
    peak = HYPERPARAMETERS["learning_rate"]
    assert [rate for rate, _ in SEEN] == pytest.approx([peak * (1 - 0.8 * at / count) for at in range(count)])


def test_a_workload_without_batches_cannot_be_trained_in_steps(tmp_path: Path) -> None:
    outcome = run_one(job(tmp_path, section(f"{HERE}:Idle"), steps=3), assignment())
    assert outcome.status == "failed"
    assert "the workload trained no batches" in (outcome.error or "")
    assert run_one(job(tmp_path, section(f"{HERE}:Idle"), longest_leg=2), assignment()).status == "done"
