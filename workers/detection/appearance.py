"""Augmentations of the appearance of images, which move nothing: colours, noise, blur and occlusion.

Images are float32 (n, 3, height, width) in [0, 1]. `recipe` has the names of `recipe.PHOTOMETRIC` or
`recipe.OCCLUSION`.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from kornia.color import hsv_to_rgb, rgb_to_hsv
from kornia.enhance import adjust_contrast_with_mean_subtraction
from kornia.filters import gaussian_blur2d
from torch import Tensor

from workers.detection.geometry import GREY
from workers.detection.mixing import hidden, rectangle

GRID_KEPT = 0.6
"""Fraction of each side of a grid mask's unit that is kept (Chen et al. 2020, arXiv 2001.04086)."""


def photometric(images: Tensor, rng: np.random.Generator, recipe: Mapping[str, float]) -> Tensor:
    """Change hue, saturation, value, contrast, blur and noise, drawn for each image; skip those at zero."""
    count = len(images)

    def each(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(images)

    def factors(name: str) -> Tensor:
        return each(np.maximum(1 + rng.uniform(-1, 1, count) * recipe[name], 0))[:, None, None]

    if any(recipe[name] > 0 for name in ("hsv_h", "hsv_s", "hsv_v")):
        hue, saturation, value = rgb_to_hsv(images).unbind(1)
        hue = (hue * factors("hsv_h")) % (2 * math.pi)
        saturation, value = saturation * factors("hsv_s"), value * factors("hsv_v")
        images = hsv_to_rgb(torch.stack([hue, saturation.clamp(0, 1), value.clamp(0, 1)], 1))
    if recipe["contrast"] > 0:
        images = adjust_contrast_with_mean_subtraction(images, factors("contrast").flatten())
    if recipe["blur"] > 0:
        sigmas = each(np.maximum(rng.uniform(0, recipe["blur"], count), 0.05))
        reach = min(math.ceil(3 * recipe["blur"]), min(images.shape[2:]) - 1)
        images = gaussian_blur2d(images, 2 * reach + 1, sigmas[:, None].expand(-1, 2))
    if recipe["noise"] > 0:
        deviation = each(rng.uniform(0, recipe["noise"], count))[:, None, None, None]
        images = images + deviation * each(rng.standard_normal(tuple(images.shape), np.float32))
    return images.clamp(0, 1)


def occluded(
    images: Tensor, labels: Tensor, rng: np.random.Generator, recipe: Mapping[str, float]
) -> tuple[Tensor, Tensor]:
    """Apply random erasing, cutout and grid mask, each with its probability; drop objects that they hide.

    Random erasing fills a rectangle of 2 to 20 % of the area and an aspect ratio of 0.3 to 3.3 with noise
    (Zhong et al. 2020, arXiv 1708.04896); cutout makes a square grey, its side 10 to 40 % of the shorter side
    of the image (DeVries and Taylor 2017, arXiv 1708.04552).
    """
    count, _, height, width = images.shape
    short = min(height, width)
    if recipe["erase"] > 0:
        area = rng.uniform(0.02, 0.2, count) * height * width
        aspect = np.exp(rng.uniform(math.log(0.3), math.log(3.3), count))
        sides = np.sqrt(np.stack([area * aspect, area / aspect], -1)).clip(1, (width, height))
        noise = torch.from_numpy(rng.random(tuple(images.shape), np.float32)).to(images)
        images, labels = _covered(images, labels, rng, recipe["erase"], sides, noise)
    if recipe["cutout"] > 0:
        sides = np.repeat(rng.uniform(0.1, 0.4, (count, 1)) * short, 2, 1)
        images, labels = _covered(images, labels, rng, recipe["cutout"], sides, images.new_tensor(GREY))
    if recipe["gridmask"] > 0:
        which = torch.from_numpy(rng.uniform(size=count) < recipe["gridmask"]).to(images.device)
        units = rng.uniform(short / 8, short / 3, count)
        inside = [
            torch.from_numpy((np.arange(side) + (rng.uniform(size=count) * units)[:, None]) % units[:, None]
                             > GRID_KEPT * units[:, None]).to(images.device)
            for side in (height, width)
        ]  # fmt: skip
        squares = (inside[0][:, :, None] & inside[1][:, None])[:, None]
        images = torch.where(squares & which[:, None, None, None], GREY, images)
    return images, labels


def _covered(
    images: Tensor,
    labels: Tensor,
    rng: np.random.Generator,
    probability: float,
    sides: np.ndarray,
    by: Tensor,
) -> tuple[Tensor, Tensor]:
    """Cover a random rectangle in each image, with a probability; sides: (n, 2), width and height."""
    height, width = images.shape[2:]
    which = torch.from_numpy(rng.uniform(size=len(images)) < probability).to(images.device)
    corner = rng.uniform(0, 1, sides.shape) * ((width, height) - sides)
    rectangles = torch.from_numpy(np.concatenate([corner, corner + sides], 1).round()).to(labels)
    inside = rectangle(rectangles, images) & which[:, None, None, None]
    return torch.where(inside, by, images), hidden(labels, rectangles, which)
