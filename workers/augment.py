"""Random changes to a batch of training images, made where the images are.

The random numbers are drawn on the CPU from torch's global generator, which `Workload.begin` seeds for each
member's epoch: a GPU is given the same ones as a CPU. They are drawn apart from what is done with them (see
`Workload.draws`), so that those of a whole epoch can be drawn before it begins.
"""

import torch
from torch import Tensor


def shifts(count: int, max_shift: int) -> Tensor:
    """Draw how far each image moves up and to the left: int64 (count, 2), -max_shift to max_shift.

    Nothing is drawn if max_shift is 0.
    """
    if max_shift == 0:
        return torch.zeros((count, 2), dtype=torch.int64)
    return torch.randint(0, 2 * max_shift + 1, (2, count)).T - max_shift


def shifted(images: Tensor, pixels: Tensor, fill: Tensor | None = None) -> Tensor:
    """Move each image by its `pixels`, int64 (n, 2), up and to the left (down and to the right if negative).

    images: (n, channels, height, width) of any dtype; what comes back has the same shape and dtype.
    What is moved in has the value `fill` (one number), or without one that of the nearest pixel of the image
    (Keras' fill_mode "nearest").
    """
    count, channels, height, width = images.shape
    rows = pixels[:, :1] + torch.arange(height, device=images.device)
    columns = pixels[:, 1:] + torch.arange(width, device=images.device)
    nearest_rows, nearest_columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    places = (nearest_rows[:, :, None] * width + nearest_columns[:, None, :]).view(count, 1, -1)
    moved = images.flatten(2).gather(2, places.expand(-1, channels, -1)).view(images.shape)
    if fill is None:
        return moved
    inside = (rows == nearest_rows)[:, :, None] & (columns == nearest_columns)[:, None, :]
    return torch.where(inside[:, None], moved, fill)


def flips(count: int) -> Tensor:
    """Draw which images are mirrored, with a probability of 1/2 each: bool (count,)."""
    return torch.rand(count) < 0.5


def flipped(images: Tensor, mirror: Tensor) -> Tensor:
    """Mirror those images of (n, channels, height, width) left to right for which `mirror`, (n,), is true."""
    return torch.where(mirror[:, None, None, None], images.flip(3), images)
