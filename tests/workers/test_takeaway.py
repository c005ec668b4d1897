"""A model as plain torch has it, out of a checkpoint."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tests.golden import raises_golden
from tests.workers.states import encode
from workers import takeaway
from workers.state import METADATA_KEY
from workers.takeaway import plain_file, plain_state


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


class Part(nn.Module):
    """A network of which one part is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = torch.compile(network()), nn.Linear(2, 2)


def checkpoint_of(model: nn.Module) -> bytes:
    return encode(model, torch.optim.SGD(model.parameters(), 0.1))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        a.dtype == other[name].dtype and torch.equal(a, other[name]) for name, a in one.items()
    )


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda net: net,
        torch.compile,
        nn.DataParallel,
        AveragedModel,
        lambda net: nn.DataParallel(torch.compile(net)),
        lambda net: torch.compile(nn.DataParallel(net)),
    ],
    ids=["plain", "compiled", "parallel", "averaged", "parallel of compiled", "compiled of parallel"],
)
def test_a_wrapped_networks_state_is_that_of_the_network_itself(
    wrapped: Callable[[nn.Module], nn.Module],
) -> None:
    net = network()
    state = plain_state(checkpoint_of(wrapped(net)))
    assert same(state, net.state_dict())
    again = network()
    again.load_state_dict(state)
    assert same(again.state_dict(), net.state_dict())


def test_the_names_of_a_part_that_is_compiled_are_plain() -> None:
    state = plain_state(checkpoint_of(Part()))
    assert set(state) == {f"body.{name}" for name in network().state_dict()} | {"head.weight", "head.bias"}


def test_a_network_of_which_only_a_part_is_called_module_keeps_its_names() -> None:
    net = nn.ModuleDict({"module": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    assert same(plain_state(checkpoint_of(net)), net.state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_the_file_holds_the_state_for_any_program(suffix: str) -> None:
    net = network()
    data = plain_file(checkpoint_of(torch.compile(net)), suffix)
    state = (
        safetensors.torch.load(data)
        if suffix == ".safetensors"
        else torch.load(io.BytesIO(data), weights_only=True)
    )
    assert same(state, net.state_dict())


def test_tensors_that_share_memory_are_written_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    shared = {"first": weight, "second": weight, "turned": weight.T}
    monkeypatch.setattr(takeaway, "judged_states", lambda data: [shared])
    assert same(safetensors.torch.load(plain_file(b"", ".safetensors")), shared)


def test_a_sparse_tensor_is_refused_by_name_in_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    links = {"links": torch.eye(2).to_sparse()}
    monkeypatch.setattr(takeaway, "judged_states", lambda data: [links])
    with raises_golden("takeaway/sparse", ValueError):
        plain_file(b"", ".safetensors")
    state = torch.load(io.BytesIO(plain_file(b"", ".pt")), weights_only=True)
    assert torch.equal(state["links"].to_dense(), torch.eye(2))


def test_a_file_that_evodevo_did_not_write_is_refused() -> None:
    with raises_golden("takeaway/foreign-file", ValueError):
        plain_state(safetensors.torch.save(network().state_dict()))


def edited(data: bytes, edit: Callable[[dict[str, Any]], Any]) -> bytes:
    """A checkpoint with something else in evodevo's own part of its header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"][METADATA_KEY])
    edit(about)
    header["__metadata__"][METADATA_KEY] = json.dumps(about)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


@pytest.mark.parametrize(
    "edit",
    [
        lambda about: about.pop("parts"),
        lambda about: about["parts"].pop("model"),
        lambda about: about["parts"].update(model=1),
        lambda about: about["parts"].update(model={"dict": [["weight", 3]]}),
        lambda about: about["parts"].update(model={"dict": [[1, {"tensor": "nowhere"}]]}),
        lambda about: about["parts"].update(model={"dict": [[[], 1]]}),
    ],
)
def test_what_evodevo_has_not_written_is_refused(edit: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(ValueError, match="the checkpoint is malformed"):
        plain_state(edited(checkpoint_of(nn.Linear(2, 2)), edit))


def test_a_checkpoint_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ValueError, match="the checkpoint is malformed"):
        plain_state(checkpoint_of(nn.Linear(2, 2))[:-4])
