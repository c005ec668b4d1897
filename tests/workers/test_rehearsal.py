"""A whole round before a run begins: what it lets pass, and what it refuses beside tests/zoo/refused."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from tests.golden import raises_golden
from tests.workers.toys import HYPERPARAMETERS, Toy, points, prepared
from workers.rehearsal import EPOCHS
from workers.training import Leg, Training
from workers.workload import Batch, Splits

OTHER = {"learning_rate": 0.01, "momentum": 0.5}


def test_a_rehearsal_leaves_the_workload_as_it_was() -> None:
    toy = prepared(Toy())
    before = {name: repr(value) for name, value in vars(toy).items()}
    toy.rehearse(HYPERPARAMETERS, OTHER)
    assert {name: repr(value) for name, value in vars(toy).items()} == before


class Remembering(nn.Module):
    """Has what it saw last in attributes, as for a picture of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.last: Tensor | None = None
        self.sizes: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.sizes = [len(inputs)]
        self.last = self.layer(inputs)
        return self.last


class Showing(Toy):
    """Tells its loss of progress in an attribute, and keeps a log."""

    progress = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.progress = 0.0
        self.log: list[float] = []

    def model(self) -> nn.Module:
        return Remembering()

    def step(self, training: Training, batch: Batch) -> Tensor:
        self.progress = training.epoch + 0.5
        loss = super().step(training, batch)
        self.log.append(float(loss))
        return loss


def test_attributes_that_are_set_anew_for_each_batch_are_no_harm() -> None:
    toy = prepared(Showing())
    toy.rehearse(HYPERPARAMETERS, OTHER)
    assert toy.log


class Cycling(Toy):
    """Has a schedule for just as many steps as the run has."""

    def __init__(self, batch_size: int, made: list[Any]) -> None:
        super().__init__(batch_size)
        self.keep = made.append

    def scheduler(self, training: Training) -> Any:
        assert training.epochs is not None
        assert training.steps_per_epoch is not None
        total = training.epochs * (training.steps_per_epoch if self.scheduler_per == "step" else 1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(training.optimizer, 0.1, total_steps=total)
        self.keep(schedule)
        return schedule


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("batch_size", [16, 100, 60])
@pytest.mark.parametrize("total", [1, 2, 5])
def test_a_schedule_that_is_as_long_as_the_run_is_long_enough(per: Any, batch_size: int, total: int) -> None:
    made: list[Any] = []
    toy = Cycling(batch_size, made)
    toy.scheduler_per = per
    prepared(toy).rehearse(HYPERPARAMETERS, OTHER, Leg(total=total))
    steps = 100 // batch_size if per == "step" else 1
    assert {one.total_steps for one in made} == {max(EPOCHS, total) * steps}
    assert all(0 < one.last_epoch <= one.total_steps for one in made)


def test_what_needs_the_number_of_epochs_is_tried_without_it_where_the_run_has_none() -> None:
    toy = prepared(Cycling(16, []))
    with pytest.raises(AssertionError):
        toy.rehearse(HYPERPARAMETERS, OTHER, Leg(steps=100))


class Ending(Toy):
    """Counts the ends of epochs, in the member."""

    def __init__(self, batch_size: int = 16) -> None:
        super().__init__(batch_size)
        self.ends: list[int] = []

    def end_epoch(self, training: Training, losses: Any) -> None:
        super().end_epoch(training, losses)
        self.ends.append(len(losses))


@pytest.mark.parametrize(("batch_size", "ends"), [(16, 2), (50, 2), (100, 1)])
def test_each_epoch_of_a_rehearsal_ends_once(batch_size: int, ends: int) -> None:
    toy = Ending(batch_size)
    prepared(toy).rehearse(HYPERPARAMETERS, OTHER)
    assert toy.ends == [ends, 1, 1, 1, 1, 1]


class Part:
    """Of a member; one that is large cannot be restored from one that is small."""

    def __init__(self, large: bool) -> None:
        self.values = {"large": 1.0} if large else {}

    def state_dict(self) -> Any:
        return self.values

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values = {name: state[name] for name in self.values}


class Sized(Toy):
    def setup(self, training: Training) -> None:
        training.part = Part(training.hyperparameters["large"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", [True, False])
def test_each_of_two_founders_is_tried_as_the_others_child(first: bool) -> None:
    toy = prepared(Sized())
    toy.rehearse({**HYPERPARAMETERS, "large": first}, {**OTHER, "large": first})
    with pytest.raises(KeyError, match="large"):
        toy.rehearse({**HYPERPARAMETERS, "large": first}, {**OTHER, "large": not first})


class Uneven(Toy):
    """Evaluates by something that restoring does not set."""

    def model(self) -> nn.Module:
        model = super().model()
        model.gain = 1  # type: ignore[assignment]
        return model

    def loss(self, model: nn.Module, batch: Batch, hp: Any) -> Tensor:
        model.gain = 2  # type: ignore[assignment]
        return super().loss(model, batch, hp)

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        return {name: value * model.gain for name, value in super().metrics(model, batch).items()}


def test_metrics_that_change_by_restoring_name_what_is_not_kept() -> None:
    with pytest.raises(
        UsageError, match=r"validation_loss .*possibly model\.gain\) that its state_dict lacks"
    ):
        prepared(Uneven()).rehearse(HYPERPARAMETERS, OTHER)


class Empty:
    """Has batches only the first time."""

    def __init__(self) -> None:
        self.batches = iter([points(16, 1), points(16, 2)])

    def __iter__(self) -> Iterator[Batch]:
        yield from self.batches


class Once(Toy):
    which = "train"

    def data(self, root: str | None) -> Splits:
        if self.which == "train":
            return Splits(Empty(), points(30, 2))
        return Splits(points(60, 1), Empty())


def test_a_split_that_is_empty_the_second_time_is_refused() -> None:
    toy = prepared(Once())
    with raises_golden("rehearsal/no-training-batch", UsageError):
        toy.rehearse(HYPERPARAMETERS, OTHER)
    toy = Once()
    toy.which = "validation"
    prepared(toy)
    with raises_golden("rehearsal/no-validation-batch", UsageError):
        toy.rehearse(HYPERPARAMETERS, OTHER)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch_size", 0, "workload.options.batch_size: should be 1 or more, not 0"),
        ("accumulate", 0, "accumulate: should be 1 or more, not 0"),
        ("clip_norm", -1.0, "clip_norm: should be greater than 0, or None to disable it, not -1.0"),
        ("average_half_life", 0.0, "average_half_life: should be greater than 0, or None to disable it"),
        ("autocast", torch.float64, "autocast: should be torch.bfloat16, torch.float16 or None"),
        ("scheduler_per", "batch", "scheduler_per: should be 'epoch' or 'step', not 'batch'"),
    ],
)
def test_an_attribute_that_cannot_be_is_refused_by_its_name(name: str, value: Any, message: str) -> None:
    toy = Toy()
    setattr(toy, name, value)
    with pytest.raises(UsageError) as caught:
        prepared(toy)
    assert str(caught.value).startswith(message)
