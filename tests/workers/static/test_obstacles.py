"""What static steps cannot do is trained as ever, and the note or the line of `check` says why."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.workers.static.members import Points, Switch, made, ready, trained
from workers.static import capture
from workers.static.obstacles import obstacle
from workers.training import Leg, Training
from workers.workload import Batch, Splits, Workload

HP = {"learning_rate": 0.1}


@pytest.fixture(autouse=True)
def static(monkeypatch: pytest.MonkeyPatch) -> Switch:
    switch = Switch(monkeypatch)
    switch(True)
    return switch


def changed(**attributes: Any) -> Points:
    """Return the workload with attributes that replace the class's, as in a subclass."""
    kind = type("Changed", (Points,), attributes)
    made: Points = kind()
    return ready(made)


def with_part(self: Workload, training: Training) -> None:
    training.critic = nn.Linear(1, 1)  # type: ignore[attr-defined]


def with_hook(self: Workload) -> nn.Module:
    model = nn.Linear(4, 3)
    model.register_forward_hook(lambda *_: None)
    return model


def split(**changes: Any) -> Callable[[Workload, str | None], Splits]:
    def data(self: Workload, root: str | None) -> Splits:
        found = Points.data(self, root)  # type: ignore[arg-type]
        return Splits(**{"train": found.train, "validation": found.validation, **changes})

    return data


SEEN: dict[str, tuple[dict[str, Any], str]] = {
    "train": ({"train": lambda self, training: Points.train(self, training)}, "train() is overridden"),
    "step": (
        {"step": lambda self, training, batch: Points.step(self, training, batch)},
        "step() is overridden",
    ),
    "batches": (
        {"train_batches": lambda self, training: Points.train_batches(self, training)},
        "train_batches() is overridden",
    ),
    "accumulate": ({"accumulate": 2}, "accumulated"),
    "float16": ({"autocast": torch.float16}, "float16"),
    "dataset": (
        {"data": split(train=TensorDataset(torch.rand(40, 4), torch.arange(40) % 3))},
        "the training data are not tensors",
    ),
    "few": ({"data": split(train=(torch.rand(8, 4), torch.arange(8) % 3))}, "fewer than a batch"),
    "optimizer": (
        {"optimizer": lambda self, model, hp: torch.optim.RMSprop(model.parameters())},
        "the optimizer is RMSprop, not one of SGD, Adam and AdamW",
    ),
    "amsgrad": (
        {"optimizer": lambda self, model, hp: torch.optim.Adam(model.parameters(), amsgrad=True)},
        "Adam with amsgrad",
    ),
    "tensor": (
        {"optimizer": lambda self, model, hp: torch.optim.Adam(model.parameters(), lr=torch.tensor(0.1))},
        "a setting of the optimizer is a tensor",
    ),
    "half": ({"model": lambda self: nn.Linear(4, 3).bfloat16()}, "torch.bfloat16, not all float32"),
    "hook": ({"model": with_hook}, "Linear has hooks"),
    "part": ({"setup": with_part}, "the member has a further part, critic"),
}


@pytest.mark.parametrize("name", SEEN)
def test_what_can_be_seen_before_is_not_tried(name: str) -> None:
    attributes, reason = SEEN[name]
    workload = changed(**attributes)
    training = workload.begin(HP, 0, None)
    found = obstacle(workload, training)
    assert found is not None
    assert reason in found
    if name not in ("half", "tensor"):  # these are not trained on a CPU as they are
        next(workload.train(training))
    assert made(workload) == 0
    assert training.notes == []


def test_points_have_no_obstacle_and_check_names_one_of_the_workload() -> None:
    workload = ready(Points())
    assert obstacle(workload, workload.begin(HP, 0, None)) is None
    assert changed(accumulate=2).facts()[-1].startswith("training steps are not captured: gradients are")


class Replaced(nn.Module):
    """Keeps a running mean in a buffer that it replaces at each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, inputs: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * inputs.mean(0).detach()
        found: Tensor = self.linear(inputs - self.mean)
        return found


class Counted(nn.Linear):
    passes = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.passes += 1
        return super().forward(inputs) * (1 + self.passes / 100)


def noisy_loss(self: Points, model: nn.Module, batch: Batch, hp: Any) -> Tensor:
    return Points.loss(self, model, batch, hp) * (1 + random.random())


def growing_draws(self: Points, batch: Batch, hp: Any) -> Any:
    return {"noise": torch.zeros(16, int(torch.randint(1, 9, ())) * 0 + 1).expand(16, 4), "more": torch.rand(
        int(torch.randint(1, 100, ()))
    )}  # fmt: skip


def unused() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3))
    model.register_parameter("unused", nn.Parameter(torch.zeros(2)))
    return model


def scaled_draws(self: Points, batch: Batch, hp: Any) -> Any:
    return {"noise": batch[0].std().item() * torch.randn(batch[0].shape)}


TRIED: dict[str, tuple[dict[str, Any], str]] = {
    "buffer": ({"model": lambda self: Replaced()}, "training replaces the buffer mean"),
    "attribute": (
        {"model": lambda self: Counted(4, 3)},
        "training changes the attribute passes of the network",
    ),
    "host": ({"loss": noisy_loss}, "draws random numbers on the host"),
    "values": ({"draws": scaled_draws}, "draws() needs more than the shapes of a batch"),
    "shapes": ({"draws": growing_draws}, "tensors of other shapes from batch to batch"),
    "unused": ({"model": lambda self: unused()}, "unused gets no gradient"),
}


@pytest.mark.parametrize("name", TRIED)
def test_what_shows_when_it_is_tried_is_trained_as_ever_with_a_note(name: str, static: Switch) -> None:
    attributes, reason = TRIED[name]
    workload = changed(**attributes)
    training, losses = trained(workload, HP)
    (note,) = training.notes
    assert note.startswith("trained without captured steps: ")
    assert reason in note
    assert made(workload) == 0
    static(False)
    training.notes.clear()
    eager, expected = trained(workload, HP)
    assert losses == expected
    assert workload.checkpoint(training) == workload.checkpoint(eager)


def test_members_whose_draws_go_by_values_are_not_trained_together() -> None:
    workload = changed(draws=scaled_draws)
    assert not workload.stackable([workload.begin(HP, seed, None) for seed in (1, 2)])


def test_what_a_capture_refuses_is_trained_as_ever_and_not_tried_again(
    static: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raise as on a GPU, where a graph cannot contain `.item()`; the real error is CUDA's."""
    tries = []

    def refusing(run: Callable[[], None], rewind: Callable[[], Any], device: torch.device) -> Any:
        tries.append(device)
        rewind()
        run()
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(capture, "captured", refusing)
    workload = ready(Points())
    training, losses = trained(workload, HP)
    assert training.notes == [
        "trained without captured steps: RuntimeError: called a synchronizing CUDA operation"
    ]
    assert len(tries) == 1
    assert workload.facts()[-1].endswith("not captured: RuntimeError: called a synchronizing CUDA operation")
    static(False)
    training.notes.clear()
    eager, expected = trained(workload, HP)
    assert losses == expected
    assert workload.checkpoint(training) == workload.checkpoint(eager)


def test_without_memory_a_member_is_trained_as_ever_and_the_next_one_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, tries = capture.captured, []

    def short(*arguments: Any) -> Any:
        tries.append(1)
        if len(tries) <= 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return plain(*arguments)

    monkeypatch.setattr(capture, "captured", short)
    workload = ready(Points())
    training, _ = trained(workload, HP, epochs=1)
    assert training.notes == ["trained without captured steps: there is not enough memory on the device"]
    assert len(tries) == 2  # once more after what is not in use was dropped
    assert trained(workload, HP, epochs=1)[0].notes == []
    assert made(workload) == 1


def test_without_memory_a_member_waits_for_those_whose_steps_take_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, full = capture.captured, False

    def short(*arguments: Any) -> Any:
        if full:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return plain(*arguments)

    monkeypatch.setattr(capture, "captured", short)
    workload = ready(Points())
    steps = workload.train(workload.begin(HP, 0, None))
    next(steps)
    full = True
    with pytest.raises(torch.cuda.OutOfMemoryError):
        next(workload.train(workload.begin(HP, 1, None)))
    assert not workload.stackable([workload.begin(HP, seed, None) for seed in (1, 2)])
    steps.close()
    assert trained(workload, HP, leg=Leg())[0].notes == []
    assert made(workload) == 1


def test_an_error_of_the_workloads_own_is_raised_as_it_is() -> None:
    def loss(self: Points, model: nn.Module, batch: Batch, hp: Any) -> Tensor:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        trained(changed(loss=loss), HP)
