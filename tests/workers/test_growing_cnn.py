"""Networks of blocks: what a child carries over from its parent, and that it stays as it is."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from tests.workers.made_images import bands, prepared
from tests.workers.static.members import Switch, assert_same, made
from workers import state
from workers.hyperparameters import Hyperparameters
from workers.workload import Leg, Splits, Training
from workers.workloads.growing_cnn import GrowingCNN, GrowingNetwork

ONE = {
    "blocks": 1,
    "learning_rate": 0.01,
    "activation": "relu",
    **{"block1.channels_a": 8, "block1.kernel_a": 3, "block1.norm_a": True},
    **{"block1.layer_b": True, "block1.channels_b": 12, "block1.kernel_b": 5, "block1.norm_b": True},
    **{"block1.skip": True, "block1.pool": True, "block1.pooling": "average"},
}
TWO = {
    **ONE,
    "blocks": 2,
    **{"block2.channels_a": 12, "block2.kernel_a": 3, "block2.norm_a": False},
    **{"block2.layer_b": False, "block2.skip": False, "block2.pool": False},
}
WIDER = {**TWO, "block2.channels_a": 16, "block2.norm_a": True, "block2.skip": True}


@pytest.fixture
def workload() -> GrowingCNN:
    made = prepared(GrowingCNN, Splits(bands(64), bands(40, seed=1), bands(20, seed=2)))
    assert isinstance(made, GrowingCNN)
    return made


def trained(workload: GrowingCNN, training: Training, epochs: int = 2) -> bytes:
    """The checkpoint after some epochs."""
    for _ in range(epochs):
        for _ in workload.train(training):
            pass
    return workload.checkpoint(training)


def head(tensors: dict[str, Tensor], count: int = 1) -> dict[str, list[Any]]:
    """The parameters and buffers of the first blocks, exactly."""
    parts = tuple(f"blocks.{number}." for number in range(count))
    return {name: value.tolist() for name, value in tensors.items() if name.startswith(parts)}


def network_of(training: Training) -> GrowingNetwork:
    assert isinstance(training.model, GrowingNetwork)
    return training.model


def test_carried_blocks_are_bit_for_bit_the_parents_before_and_after_training(workload: GrowingCNN) -> None:
    parent = trained(workload, workload.begin(ONE, 1, None))
    theirs = head(state.model_state(parent))
    assert any("running_mean" in name for name in theirs)
    child = workload.begin(WIDER, 2, parent, Leg(before=2))
    assert head(child.model.state_dict()) == theirs
    before = {name: value.clone() for name, value in child.model.state_dict().items()}
    after = state.model_state(trained(workload, child))
    assert head(after) == theirs
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    new = {name for name in after if name.startswith(("blocks.1.", "classifier."))}
    assert changed == new


def test_a_grandchild_carries_both_blocks(workload: GrowingCNN) -> None:
    child = trained(workload, workload.begin(WIDER, 2, trained(workload, workload.begin(ONE, 1, None))))
    third = {name.replace("block1", "block3"): value for name, value in ONE.items() if "block1" in name}
    grandchild = workload.begin({**WIDER, **third, "blocks": 3}, 3, child)
    assert network_of(grandchild).frozen == 2
    theirs = head(state.model_state(child), 2)
    assert head(state.model_state(trained(workload, grandchild)), 2) == theirs


def test_a_child_with_an_identity_block_evaluates_as_its_parent_does(workload: GrowingCNN) -> None:
    training = workload.begin(ONE, 1, None)
    parent = trained(workload, training, 4)
    child = workload.begin(TWO, 2, parent)
    layer = network_of(child).blocks[1].a[0]
    assert isinstance(layer, nn.Conv2d)
    nn.init.dirac_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    for split in ("validation", "test"):
        assert workload.evaluate(child, split) == workload.evaluate(training, split)
    trained(workload, child, 1)
    assert workload.evaluate(child, "validation") != workload.evaluate(training, "validation")


@pytest.mark.parametrize(
    "genes",
    [
        {},
        {"channels_a": 16, "kernel_a": 5, "skip": True},
        {"layer_b": True, "channels_b": 14, "kernel_b": 1},
        {
            "channels_a": 20,
            "layer_b": True,
            "channels_b": 16,
            "kernel_b": 2,
            "pool": True,
            "pooling": "average",
        },
        {"channels_a": 16, "norm_a": True},
    ],
)
def test_new_blocks_that_begin_as_the_identity_leave_a_network_as_good_as_its_parent(
    workload: GrowingCNN, genes: dict[str, Any]
) -> None:
    """Wider ones, too. Only a norm divides by a little more than its standard deviation of one."""
    training = workload.begin(ONE, 1, None)
    parent = trained(workload, training, 4)
    own = {**TWO, "new_blocks": "identity", **{f"block2.{name}": value for name, value in genes.items()}}
    child = workload.begin(own, 2, parent)
    before = workload.evaluate(training, "validation")
    assert workload.evaluate(child, "validation") == pytest.approx(before, rel=1e-4)
    assert (
        workload.evaluate(workload.begin({**own, "new_blocks": "random"}, 2, parent), "validation") != before
    )
    first = {name: value.clone() for name, value in network_of(child).blocks[1].named_parameters()}
    after = state.model_state(trained(workload, child, 1))
    assert all(not torch.equal(after[f"blocks.1.{name}"], value) for name, value in first.items())


def test_only_what_is_new_has_gradients_and_is_given_to_the_optimizer(workload: GrowingCNN) -> None:
    parent = trained(workload, workload.begin(ONE, 1, None))
    child = workload.begin(WIDER, 2, parent)
    names = {id(parameter): name for name, parameter in child.model.named_parameters()}
    given = {names[id(one)] for group in child.optimizer.param_groups for one in group["params"]}
    assert given == {name for name in names.values() if not name.startswith("blocks.0.")}
    assert given == {name for name, one in child.model.named_parameters() if one.requires_grad}
    assert not child.optimizer.state


def test_a_member_that_continues_from_its_own_checkpoint_trains_on_as_without(workload: GrowingCNN) -> None:
    """And what it does not train it trains no more after that."""
    parent = trained(workload, workload.begin(ONE, 1, None))
    begun = workload.begin(WIDER, 2, parent)
    middle = trained(workload, begun, 1)
    again = workload.begin(WIDER, 3, middle)
    assert network_of(again).frozen == 1
    begun.generator.manual_seed(5), again.generator.manual_seed(5)
    for one in (begun, again):
        torch.manual_seed(6)
        trained(workload, one, 1)
    assert workload.checkpoint(begun) == workload.checkpoint(again)
    assert head(state.model_state(workload.checkpoint(again))) == head(state.model_state(parent))


def test_steps_as_they_are_captured_on_a_gpu_leave_carried_blocks_as_they_are_too(
    workload: GrowingCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And steps that were made for members that carry nothing, or less, are not used for those that do."""
    parent = trained(workload, workload.begin(ONE, 1, None))
    static = Switch(monkeypatch)
    results = []
    for on in (False, True):
        static(on)
        whole = workload.begin(WIDER, 2, None)
        torch.manual_seed(5)
        of_whole = trained(workload, whole, 1)
        child = workload.begin(WIDER, 2, parent)
        torch.manual_seed(6)
        after = trained(workload, child, 1)
        assert head(state.model_state(after)) == head(state.model_state(parent))
        assert not whole.notes + child.notes
        results.append((of_whole, after))
    assert made(workload) == 2
    for eager, by_steps in zip(*results, strict=True):
        assert_same(eager, by_steps, atol=1e-5)


def test_a_network_from_scratch_is_trained_as_a_whole(workload: GrowingCNN) -> None:
    training = workload.begin(TWO, 1, None)
    before = {name: value.clone() for name, value in training.model.named_parameters()}
    after = state.model_state(trained(workload, training))
    assert not [name for name, value in before.items() if torch.equal(value, after[name])]


def test_blocks_of_other_sizes_are_drawn_anew_from_the_first_one_that_differs(workload: GrowingCNN) -> None:
    parent = trained(workload, workload.begin(TWO, 1, None))
    other = workload.begin({**WIDER, "block1.channels_a": 16}, 2, parent)
    assert network_of(other).frozen == 0
    smaller = workload.begin(ONE, 2, parent)
    assert network_of(smaller).frozen == 1
    assert head(smaller.model.state_dict()) == head(state.model_state(parent))


def test_an_average_begins_with_what_was_carried_over(workload: GrowingCNN) -> None:
    parent = trained(workload, workload.begin(ONE, 1, None))
    leg = Leg(average_half_life=1.0)
    child = workload.begin(WIDER, 2, parent, leg)
    assert child.averaged is not None
    assert head(child.judged.state_dict()) == head(state.model_state(parent))


def test_a_network_has_the_layers_that_its_genes_say(workload: GrowingCNN) -> None:
    model = workload.model_of(Hyperparameters(TWO))
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "blocks.0.a.0.weight": (8, 3, 3, 3),
        "blocks.0.a.1.weight": (8,),
        "blocks.0.b.0.weight": (12, 8, 5, 5),
        "blocks.0.b.1.weight": (12,),
        "blocks.0.skip.weight": (12, 3, 1, 1),
        "blocks.1.a.0.weight": (12, 12, 3, 3),
        "classifier.weight": (10, 12),
    }
    images = torch.rand(2, 3, 16, 16)
    assert model(images).shape == (2, 10)
    deep = {
        **{"blocks": 6},
        **{f"block{number}.pool": True for number in range(1, 7)},
    }
    assert workload.model_of(Hyperparameters(deep))(images).shape == (2, 10), "a single pixel is not pooled"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"block1.pooling": "min"}, "search.loci.block1.pooling: should be one of max, average, not 'min'"),
        ({"activation": "tanh"}, "search.loci.activation: should be one of relu, elu, leaky_relu"),
        ({"new_blocks": "none"}, "search.loci.new_blocks: should be one of random, identity, not 'none'"),
        ({"blocks": 0}, "search.loci.blocks: should be a whole number, 1 or more, not 0"),
        ({"block1.kernel_b": 0}, "search.loci.block1.kernel_b: should be a whole number, 1 or more"),
    ],
)
def test_genes_that_make_no_network_are_refused(
    workload: GrowingCNN, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        workload.model_of(Hyperparameters({**ONE, **changes}))


def test_a_rehearsal_with_founders_of_different_networks_and_heirs_passes(workload: GrowingCNN) -> None:
    heirs = [{**ONE, "block1.channels_b": 16}, {**ONE, "block1.skip": False}]
    metrics, read = workload.rehearse(ONE, {**ONE, "block1.channels_a": 16}, Leg(total=2), heirs)
    assert {"validation_accuracy", "validation_loss", "validation_error"} <= set(metrics)
    assert set(ONE) <= read


def test_its_exhibit_is_a_picture_of_the_network(workload: GrowingCNN) -> None:
    training = workload.begin(TWO, 1, None)
    (picture,) = workload.exhibits(training).items()
    assert picture[0] == "network.png"
    assert picture[1].startswith(b"\x89PNG")
