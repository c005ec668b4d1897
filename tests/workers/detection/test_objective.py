"""The loss: its parts worked out by hand, and what becomes of images without objects."""

import math

import pytest
import torch
from torch import Tensor

from tests.configs import complaint
from workers.detection import recipe
from workers.detection.network import Detector, Plan
from workers.detection.objective import cross_entropy, losses
from workers.soft_labels import smoothed

ANCHORS = torch.tensor([[10.0, 10], [20, 20], [30, 30]]).repeat(3, 1).view(3, 3, 2)
NOTHING = torch.full((1, 1, 5), -1.0)


def outputs(value: float = -20.0, classes: int = 2, images: int = 1) -> list[Tensor]:
    """Return predictions without objects; each box is its anchor, centered in its cell."""
    found = [torch.zeros(images, 3, size, size, 5 + classes) for size in (8, 4, 2)]
    for scale in found:
        scale[..., 4] = value
    return found


def test_images_without_objects_cost_only_objectness() -> None:
    for labels in (NOTHING, torch.zeros(1, 0, 5)):
        found = losses(outputs(0.0), labels, ANCHORS, 640, recipe.DEFAULTS)
        assert (float(found.box), float(found.cls)) == (0, 0)
        assert float(found.obj) == pytest.approx(math.log(2) * (4 + 1 + 0.4))
        assert float(losses(outputs(), labels, ANCHORS, 640, recipe.DEFAULTS).total()) < 1e-6


def test_the_gains_depend_on_image_size_and_classes_as_in_yolov5() -> None:
    labels = torch.tensor([[[7.0, 7, 17, 17, 0]]])
    large = losses(outputs(0.0), labels, ANCHORS, 640, recipe.DEFAULTS)
    small = losses(outputs(0.0), labels, ANCHORS, 160, recipe.DEFAULTS)
    assert float(small.obj) == pytest.approx(float(large.obj) / 16)
    assert (small.box, small.cls) == (large.box, large.cls)


def test_class_logits_of_zero_cost_ln_2_a_scale_and_right_ones_less() -> None:
    """The threshold leaves the first anchor of each scale, whose size the object has."""
    strict = {**recipe.DEFAULTS, "iou_t": 0.9}
    labels = torch.tensor([[[7.0, 7, 17, 17, 1]]])  # centre 12, 12: the middle of cell 1, 1
    predicted = outputs()
    found = losses(predicted, labels, ANCHORS, 640, strict)
    assert float(found.cls) == pytest.approx(3 * math.log(2) * 0.5 * 2 / 80)
    predicted[0][0, 0, 1, 1, 5:] = torch.tensor([-20.0, 20.0])
    better = losses(predicted, labels, ANCHORS, 640, strict)
    assert float(better.cls) < float(found.cls)


def test_training_towards_an_object_finds_it() -> None:
    torch.manual_seed(0)
    model = Detector(Plan(classes=2, width=0.125), ANCHORS)
    images = torch.full((2, 3, 64, 64), 0.5)
    images[0, :, 16:40, 24:44] = 1.0
    labels = torch.tensor([[[24.0, 16, 44, 40, 1]], [[0, 0, 0, 0, -1]]])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    history = []
    for _ in range(40):
        found = losses(model(images), labels, ANCHORS, 640, recipe.DEFAULTS)
        optimizer.zero_grad()
        found.total().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append(float(found.box.detach()))
    assert history[-1] < 0.3 * history[0]


def test_a_single_class_has_no_class_loss() -> None:
    labels = torch.tensor([[[7.0, 7, 17, 17, 0]]])
    assert float(losses(outputs(classes=1), labels, ANCHORS, 640, recipe.DEFAULTS).cls) == 0


def test_two_objects_of_one_prediction_leave_the_better_overlap_as_its_aim() -> None:
    first, second = [7.0, 7, 17, 17, 0], [8.0, 8, 16, 16, 0]
    found = [
        losses(outputs(0.0), torch.tensor([order]), ANCHORS, 640, recipe.DEFAULTS).obj
        for order in ([first, second], [second, first])
    ]
    assert found[0] == found[1]


def test_smoothing_takes_a_from_the_true_class_and_shares_it_among_all() -> None:
    assert smoothed(torch.tensor([[0.0, 1, 0, 0]]), 0.2)[0].tolist() == pytest.approx(
        [0.05, 0.85, 0.05, 0.05]
    )
    assert smoothed(torch.tensor([[0.0, 1.0]]), 0.0).tolist() == [[0, 1]]


def test_the_focal_loss_weighs_what_is_right_already_less() -> None:
    """At a logit of 0, half right: alpha times (1/2)^gamma times ln 2."""
    logits, wanted = torch.zeros(2), torch.tensor([1.0, 0.0])
    plain = cross_entropy(logits, wanted, 1.0, {"fl_gamma": 0.0})
    focal = cross_entropy(logits, wanted, 1.0, {"fl_gamma": 2.0})
    assert float(plain) == pytest.approx(math.log(2))
    assert float(focal) == pytest.approx(math.log(2) / 4 * (0.25 + 0.75) / 2)


def test_positive_examples_weigh_as_said() -> None:
    found = cross_entropy(torch.zeros(2), torch.tensor([1.0, 0.0]), 3.0, {"fl_gamma": 0.0})
    assert float(found) == pytest.approx(math.log(2) * (3 + 1) / 2)


def test_a_missing_hyperparameter_is_its_default_and_a_bad_one_an_error() -> None:
    assert recipe.read({"box": 0.1}, {"box": 0.05, "cls": 0.5}) == {"box": 0.1, "cls": 0.5}
    assert "search.loci.mosaic: should be from 0 to 1, not 2" in complaint(
        lambda: recipe.read({"mosaic": 2}, recipe.MIXING)
    )
    assert "search.loci.blur: should be 0 or more, not -1" in complaint(
        lambda: recipe.read({"blur": -1}, recipe.PHOTOMETRIC)
    )
    assert "search.loci.blur: should be a number, not 'much'" in complaint(
        lambda: recipe.read({"blur": "much"}, recipe.PHOTOMETRIC)
    )


def test_every_augmentation_is_off_by_default() -> None:
    for group in (recipe.PHOTOMETRIC, recipe.GEOMETRIC, recipe.MIXING, recipe.OCCLUSION):
        assert set(group.values()) == {0.0}


def test_a_perfect_box_costs_nothing_and_the_neighbours_what_ciou_says() -> None:
    """On the coarse scale: centre 15, 15, so that the neighbours of cell 0, 0 are outside the image."""
    anchors = torch.full((3, 3, 2), 500.0)
    anchors[2, 0] = 30.0
    strict = {**recipe.DEFAULTS, "iou_t": 0.9, "box": 1.0}
    labels = torch.tensor([[[0.0, 0, 30, 30, 0]]])
    predicted = outputs()
    aside = losses(predicted, labels, anchors, 640, strict).box
    # the anchor in the middle of its cell is around 16, 16: 29 x 29 of 2 x 900 - 29 x 29 is shared
    assert float(aside) == pytest.approx(1 - 841 / 959 + 2 / (2 * 31**2), abs=1e-5)
    share = (15 / 32 + 0.5) / 2
    predicted[2][0, 0, 0, 0, :2] = math.log(share / (1 - share))
    assert float(losses(predicted, labels, anchors, 640, strict).box) == pytest.approx(0, abs=1e-5)


def mixture(one: float, other: float) -> Tensor:
    """An image's labels: an object of class 0 in cell 1, 1 and one of class 1 in cell 6, 6, with weights."""
    return torch.tensor([[[7.0, 7, 17, 17, 0, one], [47.0, 47, 57, 57, 1, other]]])


@pytest.mark.parametrize("part", [0.3, 0.5, 1.0])
def test_the_loss_of_a_mixture_is_that_of_each_image_by_its_part(part: float) -> None:
    """r L(one's objects) + (1 - r) L(the other's), of the same predictions, for all three parts."""
    torch.manual_seed(0)
    strict = {**recipe.DEFAULTS, "iou_t": 0.9}
    predicted = [scale + torch.randn(scale.shape) for scale in outputs(-1.0)]
    together = mixture(part, 1 - part)
    alone = [losses(predicted, together[:, at : at + 1, :5], ANCHORS, 640, strict) for at in (0, 1)]
    found = losses(predicted, together, ANCHORS, 640, strict)
    for mixed, one, other in zip(found, *alone, strict=True):
        assert float(mixed) == pytest.approx(part * float(one) + (1 - part) * float(other), rel=1e-5)


def test_objects_that_all_weigh_1_cost_what_they_cost_without_weights() -> None:
    torch.manual_seed(0)
    predicted = [torch.randn(scale.shape) for scale in outputs()]
    weighted, plain = (
        losses(predicted, labels, ANCHORS, 640, recipe.DEFAULTS)
        for labels in (mixture(1.0, 1.0), mixture(1.0, 1.0)[..., :5])
    )
    for one, other in zip(weighted, plain, strict=True):
        assert float(one) == pytest.approx(float(other))


def test_smoothing_by_a_tenth_of_five_classes_leaves_092_and_002() -> None:
    found = smoothed(torch.tensor([[0.0, 0, 1, 0, 0]]), 0.1)
    assert found.tolist()[0] == pytest.approx([0.02, 0.02, 0.92, 0.02, 0.02])
