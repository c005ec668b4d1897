"""What is copied into an arena comes back bit for bit, whatever its types and layouts."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.workers.static.members import AVERAGED, Points, ready
from workers.static.arena import ALIGNMENT_BYTES, Arena, Block, tensors_of
from workers.training import Training


class Tied(nn.Module):
    """A weight under two names, one parameter that is not trained, and buffers of several types."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(7, 5), nn.Linear(5, 7)
        self.out.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.tensor(2.0), requires_grad=False)
        self.register_buffer("seen", torch.tensor([3, 4]))
        self.register_buffer("wide", torch.rand(3, dtype=torch.float64), persistent=False)
        self.convolution = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.rows = nn.LSTM(5, 5)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.rows(self.embedding(numbers))
        self.seen.add_(1)
        found: torch.Tensor = self.scale * self.out(outputs)
        return found


def training_of(make: Callable[[], nn.Module], seed: int) -> Training:
    """A member that has an average and the state of an Adam."""
    workload = ready(Points(torch.optim.Adam))
    workload.model = make  # type: ignore[method-assign]
    training = workload.begin({"learning_rate": 0.1}, seed, None, AVERAGED)
    for parameter in training.model.parameters():
        parameter.grad = torch.rand_like(parameter) if parameter.requires_grad else None
    training.optimizer.step()
    assert training.averaged is not None
    training.averaged.update(training.model)
    return training


def state_of(training: Training) -> dict[str, torch.Tensor]:
    assert training.averaged is not None
    found = {**tensors_of(training.model)}
    found |= {f"mean.{name}": one for name, one in tensors_of(training.averaged.module).items()}
    for name, parameter in training.model.named_parameters():
        kept = training.optimizer.state.get(parameter, {})
        found |= {f"{name}.{key}": value for key, value in kept.items() if key != "step"}
    return {name: tensor.clone() for name, tensor in found.items()}


MODELS = {
    "tied": Tied,
    "norms": lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)),
    "double": lambda: nn.Linear(4, 3).double(),
}


@pytest.mark.parametrize("name", MODELS)
def test_members_come_back_from_the_arena_bit_for_bit_and_each_as_itself(name: str) -> None:
    trainings = [training_of(MODELS[name], seed) for seed in range(3)]  # type: ignore[arg-type]
    before = [state_of(training) for training in trainings]
    groups = [0]
    arena = Arena(trainings[0], 3, {"exp_avg": groups, "exp_avg_sq": groups})
    for member, training in enumerate(trainings):
        arena.load(member, training)
    for training in trainings:
        for tensor in [*tensors_of(training.model).values(), *tensors_of(training.judged).values()]:
            tensor.zero_()
        training.optimizer.state.clear()
    for member, training in enumerate(trainings):
        arena.store(member, training)
        found = state_of(training)
        assert found.keys() == before[member].keys()
        for key, value in before[member].items():
            assert torch.equal(found[key], value)
            assert found[key].stride() == value.stride()
    assert any(not torch.equal(value, before[1][key]) for key, value in before[0].items())


def test_a_network_that_is_attached_computes_with_the_arenas_numbers() -> None:
    training, other = (training_of(Tied, seed) for seed in (0, 1))
    arena = Arena(training, 1, {})
    trained = arena.attach(training.model, stacked=False)
    assert len(trained) == 8  # the weight with two names once, and without what is not trained
    arena.load(0, other)
    numbers = torch.randint(7, (6, 2))
    outputs = training.model(numbers)
    torch.testing.assert_close(outputs, other.model(numbers))
    assert training.model.get_submodule("out").weight is training.model.get_submodule("embedding").weight
    assert arena.others.member(0, "seen").tolist() == [4, 5]
    assert arena.detached() is None
    training.model.seen = torch.tensor([0, 0])
    assert arena.detached() == "seen"


def test_tensors_begin_at_aligned_places_and_keep_their_layout() -> None:
    kernel = torch.rand(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    block = Block({"a": torch.rand(5), "kernel": kernel, "count": torch.tensor(1), "c": torch.rand(())}, 2)
    assert block.views["kernel"][1].is_contiguous(memory_format=torch.channels_last)
    for view in block.views.values():
        for member in range(2):
            assert view[member].storage_offset() * view.element_size() % ALIGNMENT_BYTES == 0
    assert {dtype: tuple(buffer.shape) for dtype, buffer in block.buffers.items()} == {
        torch.float32: (2, 64 + 128 + 64),
        torch.int64: (2, 32),
    }
