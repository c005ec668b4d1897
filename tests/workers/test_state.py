"""Checkpoints: a model and its optimizer as bytes, and back."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.golden import raises_golden
from tests.workers import states
from workers import state
from workers.hyperparameters import Hyperparameters
from workers.training import Leg, Training

REFUSED = (ValueError, safetensors.SafetensorError)
MakeModel = Callable[[], nn.Module]
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.second(torch.tanh(self.first(inputs)))
        return outputs


class Counting(torch.optim.Optimizer):
    """Slower at every step; its state is plain numbers and no tensors."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for parameter in (p for group in self.param_groups for p in group["params"]):
            state = self.state[parameter]
            state["calls"] = state.get("calls", 0) + 1
            state["rate"] = 0.1 / state["calls"]
            parameter.data -= state["rate"] * parameter.grad


MODELS: dict[str, MakeModel] = {
    "plain": lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4)),
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 4)),
    "tied": Tied,
    "bfloat16": lambda: nn.Linear(4, 4).bfloat16(),
    "channels last": lambda: nn.Sequential(
        nn.Unflatten(1, (4, 1, 1)), nn.Conv2d(4, 4, 3, padding=1), nn.Flatten()
    ).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
}
OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd with momentum": lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9, nesterov=True),
    "plain sgd": lambda m: torch.optim.SGD(m.parameters(), 0.1),
    "adam": lambda m: torch.optim.Adam(m.parameters(), 0.01, amsgrad=True),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), 0.01),
    "numbers for a state": lambda m: Counting(m.parameters(), {}),
    "two groups": lambda m: torch.optim.Adam(
        [{"params": [p]} for p in m.parameters() if p.ndim > 1]
        + [{"params": [p], "lr": 0.2} for p in m.parameters() if p.ndim < 2]
    ),
}


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    dtype = next(model.parameters()).dtype
    for step in range(steps):
        inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(step)).to(dtype)
        optimizer.zero_grad()
        model(inputs).square().sum().backward()
        optimizer.step()


def trained_pair(
    make_model: MakeModel, make_optimizer: MakeOptimizer, seed: int = 0
) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = make_model()
    optimizer = make_optimizer(model)
    train(model, optimizer)
    return model, optimizer


def assert_same(found: Any, wanted: Any) -> None:
    """Equal in every bit, and in type."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, Tensor):
        assert isinstance(found, Tensor)
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)
    else:
        assert type(found) is type(wanted)
        assert found == wanted


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("make_model", MODELS.values(), ids=MODELS)
def test_a_model_and_its_optimizer_come_back_bit_for_bit_and_go_on_alike(
    make_model: MakeModel, make_optimizer: MakeOptimizer
) -> None:
    model, optimizer = trained_pair(make_model, make_optimizer)
    data = states.encode(model, optimizer)
    copy, copys_optimizer = trained_pair(make_model, make_optimizer, seed=1)
    states.restore(data, copy, copys_optimizer)

    assert_same(dict(copy.state_dict()), dict(model.state_dict()))
    assert_same(copys_optimizer.state_dict()["state"], optimizer.state_dict()["state"])
    assert states.encode(copy, copys_optimizer) == data
    train(model, optimizer)
    train(copy, copys_optimizer)
    assert states.encode(copy, copys_optimizer) == states.encode(model, optimizer)


def test_tied_weights_are_still_one_after_they_come_back() -> None:
    data = states.encode(*trained_pair(Tied, OPTIMIZERS["adam"]))
    copy, optimizer = trained_pair(Tied, OPTIMIZERS["adam"], seed=1)
    states.restore(data, copy, optimizer)
    assert isinstance(copy, Tied)
    assert copy.first.weight is copy.second.weight
    train(copy, optimizer)
    assert torch.equal(copy.first.weight, copy.second.weight)


def test_training_on_changes_neither_the_bytes_it_started_from_nor_the_bytes_it_left() -> None:
    model, optimizer = trained_pair(MODELS["batch norm"], OPTIMIZERS["adam"])
    data = states.encode(model, optimizer)
    before = hashlib.sha256(data).hexdigest()
    train(model, optimizer)
    copy, copys_optimizer = trained_pair(MODELS["batch norm"], OPTIMIZERS["adam"], seed=1)
    states.restore(data, copy, copys_optimizer)
    train(copy, copys_optimizer)
    assert hashlib.sha256(data).hexdigest() == before


def test_equal_parameters_make_equal_bytes() -> None:
    # in two processes too: test_workload.py compares the bytes of a whole epoch
    for make_model in MODELS.values():
        for make_optimizer in OPTIMIZERS.values():
            pairs = (trained_pair(make_model, make_optimizer) for _ in range(2))
            assert len({states.encode(*pair) for pair in pairs}) == 1


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_order_in_which_the_state_was_made_makes_no_difference(make_optimizer: MakeOptimizer) -> None:
    model, optimizer = trained_pair(MODELS["plain"], make_optimizer)
    data = states.encode(model, optimizer)
    reordered = [(key, dict(reversed(state.items()))) for key, state in reversed(optimizer.state.items())]
    optimizer.state.clear()
    optimizer.state.update(reordered)
    assert states.encode(model, optimizer) == data


def test_the_bytes_say_nothing_of_the_hyperparameters_but_all_of_the_parameters() -> None:
    model, optimizer = trained_pair(MODELS["plain"], OPTIMIZERS["adam"])
    data = states.encode(model, optimizer)
    optimizer.param_groups[0]["lr"] = 7.0
    assert states.encode(model, optimizer) == data
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1e-3
    assert states.encode(model, optimizer) != data


def test_parameters_that_do_not_fit_the_model_are_refused_with_the_layer_that_does_not() -> None:
    data = states.encode(*trained_pair(MODELS["plain"], OPTIMIZERS["adam"]))
    narrow = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4))
    with pytest.raises(RuntimeError, match=r"0\.weight"):
        states.restore(data, narrow, OPTIMIZERS["adam"](narrow))


class Bomb:
    """Unpickling it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def test_a_pickle_is_refused_and_nothing_in_it_runs(tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "exploded")
    torch.save({"model": bomb}, tmp_path / "model.pt")
    model, optimizer = trained_pair(MODELS["plain"], OPTIMIZERS["adam"])
    for data in (pickle.dumps(bomb), (tmp_path / "model.pt").read_bytes()):
        with pytest.raises(REFUSED):
            states.restore(data, model, optimizer)
        with raises_golden("state/not-ours", ValueError):
            state.read_metadata(data)
    assert not bomb.path.exists()
    pickle.loads(pickle.dumps(bomb))
    assert bomb.path.exists()


def test_a_file_that_was_cut_short_anywhere_is_refused() -> None:
    model, optimizer = trained_pair(MODELS["plain"], OPTIMIZERS["adam"])
    data = states.encode(model, optimizer)
    for length in (0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(REFUSED):
            states.restore(data[:length], model, optimizer)


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(REFUSED):
        states.restore(data, model, torch.optim.SGD(model.parameters(), 0.1))


def test_a_safetensors_file_of_somebody_elses_is_refused() -> None:
    model, optimizer = trained_pair(MODELS["plain"], OPTIMIZERS["adam"])
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    with raises_golden("state/not-ours", ValueError):
        states.restore(safetensors.torch.save(tensors), model, optimizer)


def of_format(number: int, tensors: dict[str, Tensor]) -> bytes:
    about = {"format": number, "optimizer": "Adam", "scalars": {}}
    return safetensors.torch.save(tensors, {"evodevo": json.dumps(about)})


def test_another_format_is_refused_with_both_numbers() -> None:
    model, optimizer = trained_pair(MODELS["plain"], OPTIMIZERS["adam"])
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    assert state.read_metadata(of_format(1, tensors))["format"] == 1
    with raises_golden("state/another-format", ValueError):
        states.restore(of_format(4, tensors), model, optimizer)


def test_another_format_is_refused_by_its_number_whatever_its_tensors_are_called() -> None:
    model, optimizer = trained_pair(MODELS["plain"], OPTIMIZERS["adam"])
    with raises_golden("state/another-format", ValueError):
        states.restore(of_format(4, {"weights": torch.zeros(1)}), model, optimizer)


@pytest.mark.parametrize("networks", [None, 3, [3], [{"format": 1}], [{"format": 3, "networks": []}]])
def test_what_is_of_several_networks_and_does_not_say_which_is_malformed(networks: Any) -> None:
    about = json.dumps({"format": state.SEVERAL, "networks": networks})
    with raises_golden("state/networks-not-said", ValueError):
        state.model_state(safetensors.torch.save({}, {state.METADATA_KEY: about}))


@pytest.mark.parametrize("header", [b"5", b"[]", b'{"__metadata__": {"evodevo": "5"}}'])
def test_a_header_of_another_shape_is_not_a_checkpoint_either(header: bytes) -> None:
    with raises_golden("state/not-ours", ValueError):
        state.read_metadata(len(header).to_bytes(8, "little") + header)


def test_a_run_that_begins_from_anothers_member_begins_its_schedule_and_keeps_its_moments() -> None:
    def made() -> Training:
        torch.manual_seed(3)
        model = nn.Linear(4, 4)
        optimizer = torch.optim.Adam(model.parameters(), 0.1)
        training = Training(model, optimizer, Hyperparameters({}), torch.Generator())
        training.scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        training.given = state.given(training)
        return training

    first = made()
    train(first.model, first.optimizer)
    first.scheduler.step()
    data = state.encode(first)
    heir, starter = made(), made()
    starter.leg = Leg(anew=True)
    for training in (heir, starter):
        state.restore(data, training)
        assert training.optimizer.state[training.model.weight]["step"] == 3
    assert (heir.optimizer.param_groups[0]["lr"], heir.scheduler.last_epoch) == (0.05, 1)
    assert (starter.optimizer.param_groups[0]["lr"], starter.scheduler.last_epoch) == (0.1, 0)
    assert starter.notes == ["scheduler: begins anew, as the run does"]
