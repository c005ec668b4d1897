"""Random changes to a batch of training images, made where the images are.

The random numbers are drawn on the CPU from torch's global generator, which `Workload.begin` seeds for each
member's epoch: a GPU is given the same ones as a CPU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def shifted(images: Tensor, max_shift: int, fill: float | None = None) -> Tensor:
    """Move each image by -max_shift to max_shift pixels, down and to the right each on its own.

    images: (n, channels, height, width) of any dtype; what comes back has the same shape and dtype.
    What is moved in has the value `fill`, or without one that of the nearest pixel of the image (Keras'
    fill_mode "nearest").
    """
    if max_shift == 0:
        return images
    count, channels, height, width = images.shape
    top, left = torch.randint(0, 2 * max_shift + 1, (2, count)).to(images.device)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    if fill is None:
        rows = (rows - max_shift).clamp(0, height - 1)
        columns = (columns - max_shift).clamp(0, width - 1)
    else:
        images = F.pad(images, (max_shift,) * 4, value=fill)
    places = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).view(count, 1, -1)
    moved = images.flatten(2).gather(2, places.expand(-1, channels, -1))
    return moved.view(count, channels, height, width)


def flipped(images: Tensor) -> Tensor:
    """Mirror each image of (n, channels, height, width) left to right with a probability of 1/2."""
    mirror = (torch.rand(len(images)) < 0.5).to(images.device)
    return torch.where(mirror[:, None, None, None], images.flip(3), images)
