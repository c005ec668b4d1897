"""Batch normalisation across iterations, and across the mini-batches of a batch."""

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor, nn


class _Past(NamedTuple):
    """A layer's statistics of one iteration, and their gradients by its kernel."""

    mean: Tensor
    """(channels,), like mean_square"""
    mean_square: Tensor
    kernel: Tensor
    """(channels, inputs, height, width), like the next two"""
    mean_slope: Tensor
    mean_square_slope: Tensor

    def now(self, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and mean square corrected to first order for the present kernel (equations 4 and 5)."""
        moved = kernel - self.kernel
        mean = self.mean + (self.mean_slope * moved).sum((1, 2, 3))
        return mean, self.mean_square + (self.mean_square_slope * moved).sum((1, 2, 3))


class CrossIterationNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics, in training, of this batch and the `window` - 1 before.

    Yao et al. 2020, "Cross-iteration batch normalization", arXiv 2002.05712.

    Earlier statistics are corrected for the change of the kernel of the convolution before this layer;
    changes of other layers are neglected, as in the paper. A channel ignores an iteration whose corrected
    variance would be negative, as in the authors' code. The statistics are part of a checkpoint.
    """

    def __init__(self, channels: int, window: int, eps: float = 1e-3) -> None:
        super().__init__(channels, eps=eps)
        self.past: deque[_Past] = deque(maxlen=window - 1)

    def across(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Normalise inputs, (n, channels, height, width), the outputs of a convolution with `kernel`."""
        if not self.training or not inputs.requires_grad:
            return self(inputs)  # type: ignore[no-any-return]
        own = inputs.float()
        mean, square = own.mean((0, 2, 3)), own.square().mean((0, 2, 3))
        slopes = [
            torch.autograd.grad(value.sum(), kernel, retain_graph=True)[0].detach()
            for value in (mean, square)
        ]
        means, squares = [mean], [square]
        for one in self.past:
            carried = one.now(kernel.detach())
            means.append(carried[0])
            squares.append(carried[1])
        all_means, all_squares = torch.stack(means), torch.stack(squares)
        good = (all_squares >= all_means.square()).float()
        count = good.sum(0).clamp(min=1)
        mean_all = (all_means * good).sum(0) / count
        square_all = (all_squares * good).sum(0) / count
        variance = (square_all - mean_all.square()).clamp(min=0)
        self._remember(mean, square, kernel, slopes)
        run_on(self, mean_all, variance, inputs.numel() // inputs.shape[1])
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean_all * scale
        return (own * scale[:, None, None] + shift[:, None, None]).to(inputs.dtype)

    def _remember(self, mean: Tensor, square: Tensor, kernel: Tensor, slopes: list[Tensor]) -> None:
        if self.past.maxlen:
            self.past.appendleft(_Past(mean.detach(), square.detach(), kernel.detach().clone(), *slopes))

    def get_extra_state(self) -> list[tuple[Tensor, ...]]:
        """Return the statistics of earlier iterations, newest first."""
        return [tuple(one) for one in self.past]

    def set_extra_state(self, state: list[tuple[Tensor, ...]]) -> None:
        home = self.weight.device
        kept = (_Past(*(value.to(home) for value in one)) for one in state)
        self.past = deque(kept, maxlen=self.past.maxlen)


class CrossMiniBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics, in training, of the batch's mini-batches so far.

    YOLOv4's cross mini-batch normalisation (Bochkovskiy et al. 2020, arXiv 2004.10934, figure 4): a batch is
    several mini-batches, whose gradients are added up for one step, so weights do not change between them and
    no correction is needed. The last mini-batch is normalised by the whole batch's statistics; only these
    update the running ones, by `end_batch`. Gradients pass only through the present mini-batch's statistics.
    """

    def __init__(self, channels: int, eps: float = 1e-3) -> None:
        super().__init__(channels, eps=eps)
        self._so_far: tuple[int, Tensor, Tensor] | None = None
        """Number of values per channel, and sums of values and of squares, (channels,)."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return super().forward(inputs)
        own = inputs.float()
        count, total, squares = own.numel() // own.shape[1], own.sum((0, 2, 3)), own.square().sum((0, 2, 3))
        if self._so_far is not None:
            count, total, squares = (
                count + self._so_far[0],
                total + self._so_far[1],
                squares + self._so_far[2],
            )
        self._so_far = count, total.detach(), squares.detach()
        mean, variance = _moments(count, total, squares)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (own * scale[:, None, None] + shift[:, None, None]).to(inputs.dtype)

    def end_batch(self) -> None:
        """Update the running statistics with the batch's, and begin a new batch."""
        if self._so_far is not None:
            run_on(self, *_moments(*self._so_far), self._so_far[0])
            self._so_far = None


def end_batch(model: nn.Module) -> None:
    """End the batch in all layers that normalise across mini-batches."""
    for module in model.modules():
        if isinstance(module, CrossMiniBatchNorm):
            module.end_batch()


def _moments(count: int, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of `count` values from their sum and sum of squares."""
    mean = total / count
    return mean, (squares / count - mean.square()).clamp(min=0)


@torch.no_grad()
def run_on(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Update the running statistics, with which evaluation normalises."""
    momentum = norm.momentum or 0.1
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance * count / max(1, count - 1), momentum)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
