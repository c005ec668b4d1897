"""Random augmentation of a batch of training images, on the device that holds them.

The random numbers are drawn on the CPU from torch's global generator, which `Workload.begin` seeds for each
member's epoch, so a GPU uses the same ones as a CPU. Drawing is separate from applying (see
`Workload.draws`), so that the numbers of a whole epoch can be drawn before it begins.
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

    images: (n, channels, height, width) of any dtype; the result has the same shape and dtype.
    Pixels that move in from outside are `fill` (one number), or without it equal the nearest pixel of the
    image (Keras' fill_mode "nearest").
    """
    count, channels, height, width = images.shape
    rows = pixels[:, :1] + torch.arange(height, device=images.device)
    columns = pixels[:, 1:] + torch.arange(width, device=images.device)
    nearest_rows, nearest_columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    if fill is None:
        source, places = images.flatten(2), (nearest_rows * width)[:, :, None] + nearest_columns[:, None, :]
    else:  # append `fill` as one more pixel, to which every position outside the image points
        last = height * width
        source = torch.cat([images.flatten(2), fill.expand(count, channels, 1)], 2)
        down = torch.where(rows == nearest_rows, rows * width, last)
        across = torch.where(columns == nearest_columns, columns, last)
        places = (down[:, :, None] + across[:, None, :]).clamp(max=last)
    return source.gather(2, places.view(count, 1, -1).expand(-1, channels, -1)).view(images.shape)


def flips(count: int) -> Tensor:
    """Draw which images are mirrored, each with probability 1/2: bool (count,)."""
    return torch.rand(count) < 0.5


def flipped(images: Tensor, mirror: Tensor) -> Tensor:
    """Mirror left to right the images, (n, channels, height, width), whose `mirror`, bool (n,), is true."""
    return torch.where(mirror[:, None, None, None], images.flip(3), images)
