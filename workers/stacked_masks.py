"""Dropout masks for K members at once, and the sources of their random numbers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from workers.seeding import Randomness

Masks = Callable[[Tensor, Tensor], Tensor]
"""A function that draws masks of what is kept (1) and dropped (0).

It takes values [K, ...], for their shape, type and device, and the probabilities to drop them, float64 [K],
and returns a mask [K, ...].
"""


def dropped(values: Tensor, p: Tensor, masks: Masks, whole_channels: bool = False) -> Tensor:
    """Drop each number (or channel of [K, batch, C, ...]) with its member's probability; scale the others.

    p: float64 [K]. Kept values are divided by 1 - p, so that E[result] = values.
    """
    places = values
    for dim in range(3, values.ndim if whole_channels else 0):
        places = places.narrow(dim, 0, 1)
    kept = masks(places, p)
    scale = torch.where(p < 1, 1 / (1 - p), 0).to(values.dtype)
    return values * (kept * scale.view(-1, *[1] * (values.ndim - 1)))


def from_global_generator(values: Tensor, p: Tensor) -> Tensor:
    """Draw all masks together from the device's global generator, without synchronising.

    A member's masks then depend on the other members; `InTurn` draws independent ones.
    """
    drawn = torch.rand(values.shape, device=values.device)
    return (drawn >= p.to(drawn.dtype).view(-1, *[1] * (values.ndim - 1))).to(values.dtype)


class InTurn:
    """Draws each member's mask on the CPU from its own generators, as its network alone would."""

    def __init__(self, members: Sequence[Randomness]) -> None:
        self._members = members

    def __call__(self, values: Tensor, p: Tensor) -> Tensor:
        kept = torch.ones_like(values)
        for member, mask, probability in zip(self._members, kept, p.tolist(), strict=True):
            if probability >= 1:
                mask.zero_()
            elif probability > 0:  # at 0 and 1 torch draws nothing
                with member.in_force():
                    mask.copy_(torch.empty_like(mask).bernoulli_(1 - probability))
        return kept
