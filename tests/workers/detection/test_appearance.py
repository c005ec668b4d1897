"""Colours, noise, blur and occlusion: each does what its name says and moves no box."""

import numpy as np
import pytest
import torch
from kornia.color import rgb_to_hsv
from torch import Tensor

from tests.workers.detection.painted import paint
from workers.detection import recipe
from workers.detection.appearance import occluded, photometric
from workers.detection.geometry import GREY

BYTES, LABELS = paint([[40, 30, 60, 50, 0]], [[44, 32, 64, 52, 1], [80, 60, 100, 90, 2]])
IMAGES = 0.25 + BYTES.float() / 510
OFF = {**recipe.PHOTOMETRIC, **recipe.OCCLUSION}


def changed(seed: int = 0, **changes: float) -> Tensor:
    return photometric(IMAGES, np.random.default_rng(seed), {**OFF, **changes})


def test_nothing_asked_for_is_nothing_done() -> None:
    assert torch.equal(changed(), IMAGES)
    images, labels = occluded(IMAGES, LABELS, np.random.default_rng(0), OFF)
    assert images is IMAGES
    assert labels is LABELS


@pytest.mark.parametrize("name", recipe.PHOTOMETRIC)
def test_each_change_keeps_shape_and_range_and_does_something(name: str) -> None:
    images = changed(**{name: 0.5})
    assert images.shape == IMAGES.shape
    assert images.dtype == IMAGES.dtype
    assert float(images.min()) >= 0 and float(images.max()) <= 1
    assert not torch.equal(images, IMAGES)


def test_value_changes_brightness_alone_and_by_no_more_than_asked() -> None:
    images = changed(hsv_v=0.3)
    before, after = rgb_to_hsv(IMAGES), rgb_to_hsv(images)
    assert torch.allclose(before[:, :2], after[:, :2], atol=1e-3)
    ratio = after[:, 2] / before[:, 2]
    assert float(ratio.min()) >= 0.7 and float(ratio.max()) <= 1.3
    # one factor an image
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio), atol=1e-4)
    assert not torch.allclose(ratio[0, 0, 0], ratio[1, 0, 0], atol=1e-3)


def test_saturation_leaves_grey_grey_and_hue_leaves_saturation() -> None:
    saturated = changed(hsv_s=0.5)
    assert torch.allclose(saturated[0, :, 0, 0], IMAGES[0, :, 0, 0], atol=1e-5)
    assert not torch.allclose(saturated[0, :, 40, 50], IMAGES[0, :, 40, 50], atol=1e-2)
    turned = rgb_to_hsv(changed(hsv_h=0.3))
    assert torch.allclose(turned[:, 1:], rgb_to_hsv(IMAGES)[:, 1:], atol=1e-3)


def test_contrast_keeps_the_mean() -> None:
    images = changed(contrast=0.2)
    assert float(images.std()) != pytest.approx(float(IMAGES.std()), rel=1e-3)
    assert float(images[0].mean()) == pytest.approx(float(IMAGES[0].mean()), abs=0.02)


def test_blur_leaves_flat_parts_and_softens_edges() -> None:
    images = changed(blur=3.0)
    assert torch.allclose(images[:, :, :8, :8], IMAGES[:, :, :8, :8], atol=1e-5)
    assert float(images.diff(dim=3).abs().max()) < float(IMAGES.diff(dim=3).abs().max())


def test_noise_is_normal_and_within_its_bound() -> None:
    flat = torch.full((1, 3, 100, 100), 0.5)
    images = photometric(flat, np.random.default_rng(0), {**OFF, "noise": 0.1})
    assert 0 < float(images.std()) <= 0.1
    assert float(images.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", recipe.OCCLUSION)
@pytest.mark.parametrize("seed", range(5))
def test_each_occlusion_hides_a_part_and_leaves_the_boxes_of_what_is_still_there(
    name: str, seed: int
) -> None:
    images, labels = occluded(IMAGES, LABELS, np.random.default_rng(seed), {**OFF, name: 1.0})
    touched = (images != IMAGES).any(1).float().mean((1, 2))
    assert ((touched > 0.005) & (touched < 0.35)).all()
    assert torch.equal(labels[..., :4], LABELS[..., :4])


def test_an_object_behind_a_grey_square_is_none() -> None:
    hidden = 0
    for seed in range(40):
        images, labels = occluded(IMAGES, LABELS, np.random.default_rng(seed), {**OFF, "cutout": 1.0})
        grey = (images[0] == torch.tensor(GREY)).all(0)[30:50, 40:60].float().mean()
        assert bool(labels[0, 0, 4] == -1) == (float(grey) > 0.6)
        hidden += int(labels[0, 0, 4] == -1)
    assert hidden > 0


def test_a_probability_of_a_half_leaves_some_images_alone() -> None:
    many = torch.full((64, 3, 32, 32), 0.1)
    for name in recipe.OCCLUSION:
        images, _ = occluded(many, torch.zeros(64, 0, 5), np.random.default_rng(0), {**OFF, name: 0.5})
        changed = (images != many).flatten(1).any(1)
        assert 16 < int(changed.sum()) < 48, name
