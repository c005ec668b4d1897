"""What is not known how to stack is refused by name, and never computed wrongly."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from workers.stacking import NotStackable, stack, stacked_from
from workers.workloads.capsnet import CapsuleNetwork
from workers.workloads.p3b1 import MultiTask
from workers.workloads.resnet20 import Block, GlobalMean


class Unknown(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values + 1


class Scaled(nn.Linear):
    def forward(self, values: Tensor) -> Tensor:
        return 2 * super().forward(values)


class Named(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 2)


class OtherBlock(Block):
    def past(self, inputs: Tensor) -> Tensor:
        return 2 * inputs


class Wrong(nn.Linear):
    def stacked(self, count: int) -> nn.Module:
        return stack(nn.Linear(3, 3, bias=False), count)


class Table(nn.Module):
    def __init__(self, number: float) -> None:
        super().__init__()
        self.register_buffer("table", torch.full((2,), number), persistent=False)

    def stacked(self, count: int) -> nn.Module:
        return nn.Identity()


def with_hook() -> nn.Module:
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda module, given, values: 2 * values)
    return layer


def with_buffer() -> nn.Module:
    layer = nn.Linear(3, 3)
    layer.register_buffer("mask", torch.ones(3, dtype=torch.bool))
    return layer


def changed(layer: nn.Module, **settings: Any) -> nn.Module:
    for name, value in settings.items():
        setattr(layer, name, value)
    return layer


def tied(how: str) -> nn.Module:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    if how == "parameter":
        second.weight = first.weight
    elif how == "memory":
        second.weight.data = first.weight.data
    else:
        second = first
    return nn.Sequential(first, nn.ReLU(), second)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "own class": (Unknown, "stacked form is not known"),
    "wrong form": (lambda: nn.Sequential(Wrong(3, 3)), r"should have 0\.bias \(2, 3\)"),
    "own class inside": (lambda: nn.Sequential(nn.ReLU(), nn.Sequential(Unknown())), r"1\.0 .*Unknown"),
    "layer without a stacked form": (lambda: nn.Sequential(nn.PReLU()), r"^0 \(torch.*PReLU\): "),
    "changed layer": (lambda: Scaled(3, 3), "Scaled"),
    "changed block": (lambda: OtherBlock(4, 4, "identity"), "changes past"),
    "block inside": (
        lambda: nn.Sequential(changed(Block(4, 4, "identity"), first=nn.RReLU())),
        r"^0\.first ",
    ),
    "lazy layer": (lambda: nn.LazyLinear(3), "lazy"),
    "transposed": (lambda: nn.ConvTranspose2d(2, 2, 3), "ConvTranspose2d"),
    "recurrent": (lambda: nn.GRU(2, 2), "GRU"),
    "attention": (lambda: nn.MultiheadAttention(4, 2), "MultiheadAttention"),
    "instance norm": (lambda: nn.InstanceNorm2d(3), "InstanceNorm2d"),
    "tasks": (lambda: MultiTask(4, [3], [[3], [3]], [2, 2]), "MultiTask"),
    "hook": (with_hook, "hooks"),
    "pruned": (lambda: prune.l1_unstructured(nn.Linear(3, 3), "weight", 1), "hooks"),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), "parametrizations"),
    "buffer": (with_buffer, "mask"),
    "child": (lambda: changed(nn.Linear(3, 3), more=nn.ReLU()), "more"),
    "forward": (lambda: changed(nn.Linear(3, 3), forward=torch.abs), "forward was replaced"),
    "tied parameter": (partial(tied, "parameter"), r"2 .*weight is shared: 0\.weight, 2\.weight"),
    "tied memory": (partial(tied, "memory"), r"0\.weight, 2\.weight"),
    "layer used twice": (partial(tied, "layer"), r"0\.weight, 2\.weight"),
    "padding": (lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "padding_mode 'circular'"),
    "indices": (lambda: nn.MaxPool2d(2, return_indices=True), "return_indices"),
    "padding index": (lambda: nn.Embedding(4, 2, padding_idx=0), "padding_idx 0"),
    "largest norm": (lambda: nn.Embedding(4, 2, max_norm=1.0), "max_norm"),
    "sparse gradients": (lambda: nn.Embedding(4, 2, sparse=True), "sparse"),
    "cumulative average": (lambda: nn.BatchNorm2d(2, momentum=None), "momentum None"),
    "statistics": (lambda: changed(nn.BatchNorm2d(2), track_running_stats=False), "track_running_stats"),
}


@pytest.mark.parametrize(("model", "reason"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(model: Callable[[], nn.Module], reason: str) -> None:
    with pytest.raises(NotStackable, match=reason):
        stack(model(), 2)


@pytest.mark.parametrize("kind", [nn.Dropout1d, nn.Dropout2d, nn.Dropout3d])
def test_values_whose_channels_torch_would_have_to_guess_are_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(NotStackable, match="should have"):
        stack(kind(), 2)(torch.ones(2, 5, 5))


def test_a_number_that_an_embedding_does_not_know_is_not_looked_up_in_another_member() -> None:
    stacked = stack(nn.Embedding(5, 2), 3)
    for number in (5, -1):
        with pytest.raises(RuntimeError, match="index out of range"):
            stacked(torch.full((3, 4), number))


def test_a_subclass_that_only_makes_a_layer_is_stacked_like_it() -> None:
    model, values = Named(), torch.randn(2, 4, 3)
    torch.testing.assert_close(stack(model, 2)(values), model(values))


def test_a_layer_without_parameters_may_be_used_twice() -> None:
    relu = nn.ReLU()
    model, values = nn.Sequential(nn.Linear(3, 3), relu, nn.Linear(3, 3), relu), torch.randn(2, 4, 3)
    torch.testing.assert_close(stack(model, 2)(values), model(values))


def test_the_network_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.MaxPool2d(2), GlobalMean())
    stack(model, 2).eval().to("meta")
    assert all(module.training for module in model.modules())
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())


DIFFERENT: dict[str, tuple[nn.Module, nn.Module, str]] = {
    "strides": (nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3, 2), "stride differs"),
    "widths": (nn.Linear(2, 2), nn.Linear(2, 3), "out_features.* differs"),
    "activations": (nn.Sequential(nn.ReLU()), nn.Sequential(nn.GELU()), r"^0 .*GELU.*: in another .* ReLU"),
    "depths": (nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU(), nn.ReLU()), "members differ in 1"),
    "momenta": (nn.BatchNorm1d(2), nn.BatchNorm1d(2, momentum=0.2), "momentum differs"),
    "modes": (nn.BatchNorm1d(2), nn.BatchNorm1d(2).eval(), "training differs"),
    "types": (nn.Linear(2, 2), nn.Linear(2, 2).double(), "bias, weight differs"),
    "routings": (CapsuleNetwork(), changed(CapsuleNetwork(), routings=2), "routings differs"),
    "tables": (Table(1.0), Table(2.0), "table differs"),
    "hooks": (nn.Sequential(nn.Linear(3, 3)), nn.Sequential(with_hook()), "^0 .* hooks"),
    "ties": (nn.Sequential(*(nn.Linear(3, 3), nn.ReLU()) * 2), tied("parameter"), "shared"),
}


@pytest.mark.parametrize(("one", "other", "reason"), DIFFERENT.values(), ids=DIFFERENT)
def test_members_of_different_forms_are_refused(one: nn.Module, other: nn.Module, reason: str) -> None:
    with pytest.raises(NotStackable, match=reason):
        stacked_from([one, other])
