"""DropBlock (Ghiasi et al. 2018, arXiv 1810.12890), for detectors and classifiers alike."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers.hyperparameters import Hyperparameters

SIZE = 3
"""Default side of the squares, in cells, without `dropblock_size`."""


class DropBlock(nn.Module):
    """In training, set a fraction `rate` of all cells to zero, in squares of `size` cells; scale up the rest.

    Equation 1 of the paper, with one mask for all channels of an image. The square is never larger than the
    shorter side of its input.
    """

    per_member: ClassVar[tuple[str, ...]] = ("rate",)
    """Attributes that a captured step reads from tensors, so that it can be reused with other values."""

    def __init__(self, rate: float, size: int) -> None:
        super().__init__()
        self.rate, self.size = rate, size

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or (not isinstance(self.rate, Tensor) and self.rate == 0):
            return inputs
        count, _, height, width = inputs.shape
        size = min(self.size, height, width)
        rows, columns = height - size + 1, width - size + 1
        seeds = self.rate / size**2 * (height * width) / (rows * columns)
        corners = (torch.rand(count, 1, rows, columns, device=inputs.device) < seeds).to(inputs)
        dropped = F.max_pool2d(F.pad(corners, (size - 1,) * 4), size, 1)
        kept = 1 - dropped
        return inputs * kept * (kept.numel() / kept.sum().clamp(min=1))


def dropblock_of(hp: Hyperparameters) -> DropBlock | None:
    """Return the layer for the rate `dropblock` and for `dropblock_size`; None if the rate is 0.

    Raises `UsageError` for invalid values.
    """
    rate = hp.get("dropblock", 0.0)
    if isinstance(rate, str) or not 0 <= rate < 1:
        raise UsageError(f"search.loci.dropblock: should be 0 or more and below 1, not {rate!r}")
    if rate == 0:
        return None
    size = hp.get("dropblock_size", SIZE)
    if isinstance(size, str) or size < 1 or size != int(size):
        raise UsageError(f"search.loci.dropblock_size: should be a whole number, 1 or more, not {size!r}")
    return DropBlock(float(rate), int(size))
