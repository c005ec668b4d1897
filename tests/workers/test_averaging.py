"""The moving average of a network, against the recursion by hand."""

from collections.abc import Generator, Iterator
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from tests.golden import raises_golden
from tests.workers.toys import HYPERPARAMETERS, Toy, points, prepared
from workers import state
from workers.averaging import Averaged
from workers.seeding import seed_all
from workers.workload import Batch, Leg, Splits, Training

HALF_LIFE = 0.5


class Net(Toy):
    """Six batches an epoch, so that the average's half-life is three steps."""

    average_half_life = HALF_LIFE

    def data(self, root: str | None) -> Splits:
        return Splits(points(96, 1), points(30, 2))

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))


def values_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def averaged_by_hand(average: dict[str, Tensor], new: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    decay = min(0.5 ** (1 / 3), (1 + step) / (10 + step))
    return {
        name: decay * average[name] + (1 - decay) * value if value.is_floating_point() else value
        for name, value in new.items()
    }


def test_the_average_follows_its_recursion_over_several_legs_and_through_inheritance() -> None:
    toy = prepared(Net())
    average: dict[str, Tensor] = {}
    parent, step = None, 0
    for leg, rate in enumerate((0.05, 0.02, 0.1)):
        member = toy.begin({**HYPERPARAMETERS, "learning_rate": rate}, 7 + leg, parent)
        average = average or values_of(member.model)
        steps = toy.train(member)
        for _ in range(6):
            next(steps)
            step += 1
            average = averaged_by_hand(average, values_of(member.model), step)
        steps.close()
        found = values_of(member.judged)
        assert member.judged is not member.model
        for name, value in average.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
        parent = toy.checkpoint(member)
        assert all(torch.equal(value, found[name]) for name, value in state.model_state(parent).items())
    assert step == 18


def test_the_averaged_network_is_what_is_evaluated_with_its_own_batch_norm() -> None:
    toy = prepared(Net())
    member = toy.begin(HYPERPARAMETERS, 7, None)
    assert len(list(toy.train(member))) == 6
    assert member.averaged is not None
    inputs, labels = toy.splits.validation
    judged = member.judged.eval()
    expected = nn.functional.cross_entropy(judged(inputs), labels).detach()
    assert toy.evaluate(member, "validation")["validation_loss"] == float(expected)
    assert not torch.equal(expected, nn.functional.cross_entropy(member.model.eval()(inputs), labels))
    assert int(judged[1].num_batches_tracked) == 6
    assert not torch.equal(judged[1].running_mean, member.model[1].running_mean)


def test_early_the_average_follows_closely() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    averaged = Averaged(model, 1e9)
    nn.init.ones_(model.weight)
    averaged.update(model)
    assert float(averaged.module.weight) == pytest.approx(1 - 2 / 11)


def test_numbers_sparse_buffers_and_extra_state_are_those_of_the_last_step() -> None:
    class Odd(nn.Linear):
        def __init__(self) -> None:
            super().__init__(1, 1)
            self.calls = 0
            self.register_buffer("count", torch.tensor(0))
            self.register_buffer("graph", torch.eye(2).to_sparse())
            self.register_buffer("turn", torch.ones(1, dtype=torch.complex64))

        def get_extra_state(self) -> Any:
            return {"calls": self.calls}

        def set_extra_state(self, state: Any) -> None:
            self.calls = state["calls"]

    model = Odd()
    averaged = Averaged(model, 1e9)
    model.calls, model.count = 5, torch.tensor(7)
    model.graph, model.turn = (2 * torch.eye(2)).to_sparse(), torch.full((1,), 1j)
    averaged.update(model)
    own: Any = averaged.module
    assert (own.calls, int(own.count)) == (5, 7)
    assert torch.equal(own.graph.to_dense(), 2 * torch.eye(2))
    torch.testing.assert_close(own.turn, (2 / 11) * torch.ones(1) + (9 / 11) * torch.full((1,), 1j))


class Recent(nn.Module):
    """Keeps the mean of its last inputs in a buffer that is another tensor after each forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.register_buffer("recent", torch.zeros(2))

    def forward(self, inputs: Tensor) -> Tensor:
        self.recent = inputs.detach().mean(0)
        out: Tensor = self.inner(inputs)
        return out


def followed(averaged: Averaged, model: nn.Module, steps: int) -> None:
    """Take `steps` updates of a network that nothing changes between them."""
    average = values_of(averaged.module)
    for _ in range(steps):
        averaged.update(model)
        decay = min(averaged.decay, (1 + averaged.steps) / (10 + averaged.steps))
        average = {
            name: decay * average[name] + (1 - decay) * value for name, value in values_of(model).items()
        }
        for name, value in values_of(averaged.module).items():
            torch.testing.assert_close(value, average[name])


def test_a_buffer_that_every_step_replaces_is_averaged_as_it_is_after_the_step() -> None:
    model = Recent()
    averaged = Averaged(model, 3.0)
    for step in range(1, 4):
        model(torch.full((4, 2), float(step)))
        followed(averaged, model, 1)


def test_what_is_replaced_in_training_is_averaged_from_then_on() -> None:
    model = Recent()
    averaged = Averaged(model, 3.0)
    followed(averaged, model, 2)
    model.inner.weight = nn.Parameter(torch.full((2, 2), 5.0))
    followed(averaged, model, 2)
    model.inner = nn.Linear(2, 2)
    followed(averaged, model, 2)
    model.inner.weight.data = torch.full((2, 2), 7.0)
    followed(averaged, model, 2)
    averaged.module.inner = nn.Linear(2, 2).requires_grad_(False)
    followed(averaged, model, 2)
    followed(averaged, Recent(), 2)


def test_an_average_that_begins_anew_or_is_restored_goes_on_from_there() -> None:
    model = Recent()
    averaged = Averaged(model, 3.0)
    followed(averaged, model, 2)
    state_then = {"module": values_of(averaged.module), "steps": 2}
    model(torch.ones(4, 2))
    followed(averaged, model, 2)
    averaged.load_state_dict(state_then)
    assert averaged.steps == 2
    followed(averaged, model, 2)
    averaged.begin(model)
    assert averaged.steps == 0
    followed(averaged, model, 2)


def test_a_compiled_network_is_averaged_by_its_plain_names() -> None:
    model = torch.compile(nn.Linear(2, 2), backend="eager")
    averaged = Averaged(model, 3.0)
    averaged.update(model)
    assert averaged.module.state_dict().keys() == {"weight", "bias"}


def test_the_average_takes_no_part_in_training() -> None:
    toy, plain = prepared(Net()), prepared(Net())
    plain.average_half_life = None
    one, other = (each.begin(HYPERPARAMETERS, 7, None) for each in (toy, plain))
    assert not any(parameter.requires_grad for parameter in one.judged.parameters())
    for each, member in ((toy, one), (plain, other)):
        seed_all(0)
        assert len(list(each.train(member))) == 6
    assert not torch.equal(one.model[0].weight, one.judged[0].weight)
    assert all(
        torch.equal(value, other.model.state_dict()[name]) for name, value in one.model.state_dict().items()
    )


class Tempered(Toy):
    """What its evaluation needs is set on the model by `setup`."""

    def setup(self, training: Training) -> None:
        training.model.temperature = training.hyperparameters["learning_rate"]

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor | float]:
        return {**super().metrics(model, batch), "temperature": float(cast(float, model.temperature))}


def test_what_setup_sets_on_the_model_is_there_when_its_average_is_judged() -> None:
    toy = prepared(Tempered())
    member = toy.begin(HYPERPARAMETERS, 7, None, Leg(average_half_life=1.0))
    assert toy.evaluate(member, "validation")["validation_temperature"] == HYPERPARAMETERS["learning_rate"]


class OfNoLength(Toy):
    def data(self, root: str | None) -> Splits:
        whole = super().data(root)
        return Splits(Stream(whole.train), whole.validation)


class Stream:
    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self.tensors = tensors

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        yield from zip(*(tensor.split(16) for tensor in self.tensors), strict=True)


def test_data_without_a_length_have_an_average_over_a_tenth_of_all_steps() -> None:
    toy = prepared(OfNoLength())
    member = toy.begin(HYPERPARAMETERS, 7, None, Leg(average_half_life=1.0))
    assert member.averaged is not None
    assert member.averaged.decay == 1.0  # so that (1 + k) / (10 + k) rules
    list(toy.train(member))
    assert member.averaged.steps > 0


class Loop(Toy):
    """Trains in a loop of its own, in which nothing updates the average."""

    def train(self, training: Training) -> Generator[Tensor, None, None]:
        for batch in self.train_batches(training):
            yield self.step(training, batch)


def test_a_loop_that_never_updates_the_average_is_refused_before_the_run() -> None:
    toy = prepared(Loop())
    with raises_golden("averaging/not-updated", UsageError):
        toy.rehearse(HYPERPARAMETERS, None, Leg(average_half_life=1.0))
    toy.rehearse(HYPERPARAMETERS)
