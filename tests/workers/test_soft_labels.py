"""CutMix, Mosaic, DropBlock and label smoothing of classifiers, by hand and in training."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from tests.workers.made_images import HYPERPARAMETERS, NETWORKS, prepared
from tests.workers.static.members import Switch, made, trained
from workers.dropblock import DropBlock
from workers.hyperparameters import Hyperparameters
from workers.images import ImageClassifier
from workers.soft_labels import cut, drawn, mosaic, smoothed, softened
from workers.workloads.capsnet import CapsNet, margin_loss
from workers.workloads.resnet20 import Block, ResNet20

EVERY = {"cutmix": 0.5, "mosaic": 0.5, "label_smoothing": 0.1}
VALUES = torch.tensor([10.0, 20.0, 30.0, 40.0]).view(4, 1, 1, 1).expand(4, 3, 4, 8)
SINGLE = torch.eye(4)


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def make(request: pytest.FixtureRequest) -> Callable[..., ImageClassifier]:
    chosen: Callable[..., ImageClassifier] = request.param
    return chosen


def test_smoothing_by_a_tenth_of_five_classes_leaves_092_and_four_times_002() -> None:
    found = smoothed(torch.eye(5)[3:4], 0.1)
    assert found.tolist()[0] == pytest.approx([0.02, 0.02, 0.02, 0.92, 0.02])


def test_a_mosaic_has_four_images_each_in_its_place_and_labels_by_their_areas() -> None:
    """Of 4 x 8 pixels: 1 x 2, 1 x 6, 3 x 2 and 3 x 6 of images 0 to 3; those of 2 begin with 2, 3, 0."""
    images, labels = mosaic(VALUES, SINGLE, torch.tensor([[1, 2], [4, 8], [2, 4], [4, 8]]))
    assert images[0, 0, 0].tolist() == [10, 10, 20, 20, 20, 20, 20, 20]
    assert images[0, 2, 3].tolist() == [30, 30, 40, 40, 40, 40, 40, 40]
    assert labels[0].tolist() == pytest.approx([2 / 32, 6 / 32, 6 / 32, 18 / 32])
    assert torch.equal(images[1], VALUES[1])
    assert labels[1].tolist() == [0, 1, 0, 0]
    assert images[2, 1, :, 0].tolist() == [30, 30, 10, 10]
    assert labels[2].tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25])


def test_cutmix_takes_a_rectangle_of_the_next_image_and_its_part_of_the_label() -> None:
    cuts = torch.tensor([[1, 2, 3, 6], [0, 0, 0, 0], [0, 0, 4, 8], [0, 0, 1, 8]])
    images, labels = cut(VALUES, SINGLE, cuts)
    assert images[0, 0, 1].tolist() == [10, 10, 20, 20, 20, 20, 10, 10]
    assert (images[0, 0] == 20).sum() == 8
    assert labels[0].tolist() == pytest.approx([0.75, 0.25, 0, 0])
    assert torch.equal(images[1], VALUES[1])
    assert labels[1].tolist() == [0, 1, 0, 0]
    assert (images[2] == 40).all()
    assert labels[2].tolist() == [0, 0, 0, 1]
    assert labels[3].tolist() == pytest.approx([0.25, 0, 0, 0.75])


def test_parts_of_all_classes_add_up_to_1_and_are_those_of_the_pixels() -> None:
    torch.manual_seed(0)
    values = torch.arange(50.0).view(50, 1, 1, 1).expand(50, 1, 20, 20)
    its = drawn(values.shape, {"cutmix": 0.5, "mosaic": 0.5})
    assert its is not None
    images, labels = softened(values, torch.arange(50), its, 50)
    assert images.shape == values.shape
    assert torch.allclose(labels.sum(1), torch.ones(50))
    only_cut = softened(values, torch.arange(50), {**its, "corners": torch.full((50, 2), 20)}, 50)
    for image, label in zip(*only_cut, strict=True):
        counted = torch.bincount(image.flatten().long(), minlength=50) / 400
        assert torch.allclose(counted, label, atol=1e-6)


def test_as_many_images_are_mixed_as_the_probabilities_say_and_areas_are_even() -> None:
    torch.manual_seed(0)
    its = drawn((4000, 3, 32, 32), {"cutmix": 0.3, "mosaic": 0.6})
    assert its is not None
    assert float((its["corners"] < 32).all(1).float().mean()) == pytest.approx(0.6, abs=0.03)
    inside = its["corners"][(its["corners"] < 32).all(1)]
    assert (int(inside.min()), int(inside.max())) == (6, 26)
    sides = its["cuts"][:, 2:] - its["cuts"][:, :2]
    assert float((sides.prod(1) > 0).float().mean()) == pytest.approx(0.3, abs=0.03)


def test_without_these_hyperparameters_nothing_is_drawn(make: Callable[..., ImageClassifier]) -> None:
    workload, states = prepared(make), []
    for hp in ({}, dict.fromkeys([*EVERY, "dropblock"], 0.0)):
        torch.manual_seed(0)
        assert len(workload.draws(workload.splits.train, Hyperparameters(hp))) == 2
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cutmix": 1.5}, "cutmix: should be from 0 to 1, not 1.5"),
        ({"label_smoothing": "a"}, "label_smoothing: should be from 0 to 1, not 'a'"),
        ({"dropblock": 1.0}, "dropblock: should be 0 or more and below 1, not 1.0"),
        (
            {"dropblock": 0.1, "dropblock_size": 0},
            "dropblock_size: should be a whole number, 1 or more, not 0",
        ),
    ],
)
def test_what_cannot_be_is_named(
    make: Callable[..., ImageClassifier], wrong: dict[str, Any], says: str
) -> None:
    workload = prepared(make)
    with pytest.raises(UsageError, match=says):
        list(workload.train(workload.begin({**HYPERPARAMETERS, **wrong}, 0, None)))


def test_the_networks_train_with_all_of_it_and_evolve_it(make: Callable[..., ImageClassifier]) -> None:
    workload = prepared(make)
    hp = {**HYPERPARAMETERS, **EVERY, "dropblock": 0.1}
    metrics, read = workload.rehearse(hp, {**hp, "dropblock": 0.0, "cutmix": 0.0})
    assert {*EVERY, "dropblock", "dropblock_size"} <= read
    assert metrics == ["validation_loss", "validation_error"]
    plain = workload.begin(HYPERPARAMETERS, 0, None)
    child = workload.begin(hp, 0, workload.checkpoint(plain))
    drops = [module for module in child.model.modules() if isinstance(module, DropBlock)]
    assert {(drop.rate, drop.size) for drop in drops} == {(0.1, 3)}
    assert child.model.state_dict().keys() == plain.model.state_dict().keys()


def test_soft_labels_of_one_class_cost_what_the_class_costs(make: Callable[..., ImageClassifier]) -> None:
    workload = prepared(make)
    outputs, labels = torch.rand(6, 10), torch.tensor([0, 3, 9, 3, 1, 2])
    soft = nn.functional.one_hot(labels, 10).float()
    assert float(workload.criterion(outputs, soft)) == pytest.approx(
        float(workload.criterion(outputs, labels))
    )
    mixed = 0.3 * soft + 0.7 * soft.roll(1, 0)
    parts = [float(workload.criterion(outputs, one)) for one in (labels, labels.roll(1))]
    assert float(workload.criterion(outputs, mixed)) == pytest.approx(
        0.3 * parts[0] + 0.7 * parts[1], rel=1e-5
    )


def test_the_margin_loss_of_half_a_class_by_hand() -> None:
    """Of length 0.5: half of 0.4^2 for being short, and half of a half of 0.4^2 for being there."""
    lengths, half = torch.tensor([[0.5, 0.05]]), torch.tensor([[0.5, 0.0]])
    assert float(margin_loss(lengths, half)) == pytest.approx(0.5 * 0.16 + 0.25 * 0.16)


def test_resnets_last_two_stages_end_in_a_dropblock_that_evaluation_leaves_out() -> None:
    workload = prepared(ResNet20, depth=14)
    model = workload.begin({**HYPERPARAMETERS, "dropblock": 0.5}, 0, None).model
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    assert [block.drop is not None for block in blocks] == [False, False, False, True, False, True]
    images = torch.rand(8, 3, 16, 16)
    model.eval()
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))


@pytest.mark.parametrize("network", [ResNet20, CapsNet])
def test_captured_steps_have_the_same_mixtures_whatever_the_values(
    network: Callable[..., ImageClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    static = Switch(monkeypatch)
    workload = prepared(network, **({"depth": 8} if network is ResNet20 else {}))
    for smoothing in (0.1, 0.2):
        hp = {**HYPERPARAMETERS, **EVERY, "label_smoothing": smoothing}
        static(False)
        expected = trained(workload, hp)[1]
        static(True)
        training, losses = trained(workload, hp)
        assert training.notes == []
        assert losses == pytest.approx(expected, rel=1e-4)
    assert made(workload) == 1


def test_members_with_mixtures_are_trained_together(monkeypatch: pytest.MonkeyPatch) -> None:
    Switch(monkeypatch)(True)
    workload = prepared(ResNet20, depth=8)
    members = [workload.begin({**HYPERPARAMETERS, **EVERY}, seed, None) for seed in (0, 1)]
    assert workload.stackable(members)
    dropping = [workload.begin({**HYPERPARAMETERS, "dropblock": 0.1}, seed, None) for seed in (0, 1)]
    assert not workload.stackable(dropping)


def test_a_dropblock_whose_rate_is_a_tensor_drops_as_with_a_number() -> None:
    found: list[Tensor] = []
    for rate in (0.3, torch.tensor(0.3, dtype=torch.float64)):
        torch.manual_seed(0)
        drop = DropBlock(0.3, 2)
        drop.rate = rate  # type: ignore[assignment]
        found.append(drop(torch.ones(4, 2, 8, 8)))
    assert torch.equal(*found)
    assert (found[0] == 0).any()
