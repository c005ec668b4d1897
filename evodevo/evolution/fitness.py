"""Figures of merit become relative fitness. Decided here and nowhere else: NaN, failure, ties."""

import math
from collections.abc import Sequence
from typing import Literal, TypeGuard

Mode = Literal["min", "max"]

DEFAULT_SIGMA = 5.0


def is_usable(fom: float | None) -> TypeGuard[float]:
    """Whether a figure of merit can be compared at all: no failure, no NaN, no infinity."""
    return fom is not None and math.isfinite(fom)


def relative_fitness(foms: Sequence[float | None], mode: Mode, sigma: float = DEFAULT_SIGMA) -> list[float]:
    """Map the foms of one generation to fitness in (0, 1]; 0 for what is not usable.

    `exp(-sigma * (fom - best) / (worst - best))` with best and worst over the usable foms, which is
    the rule of Vose et al. 2019 (arXiv 1901.03900) for a fom that is minimised, mirrored for one that is
    maximised. Where all usable foms are equal, all are fittest: 1.
    """
    usable = [fom for fom in foms if is_usable(fom)]
    if not usable:
        return [0.0] * len(foms)
    best, worst = (min(usable), max(usable)) if mode == "min" else (max(usable), min(usable))
    # The halves keep the span finite where the foms lie further apart than the largest float.
    span = worst / 2 - best / 2
    return [
        0.0 if not is_usable(fom) else 1.0 if span == 0 else math.exp(-sigma * ((fom / 2 - best / 2) / span))
        for fom in foms
    ]


def best_first(foms: Sequence[float | None], mode: Mode) -> list[int]:
    """Positions from the best fom to the worst; ties keep their order, what is not usable comes last."""
    sign = 1.0 if mode == "min" else -1.0
    keys = [sign * fom if is_usable(fom) else math.inf for fom in foms]
    return sorted(range(len(foms)), key=keys.__getitem__)


def is_better(fom: float, than: float, mode: Mode) -> bool:
    """Whether a usable fom is better than another; equal ones are not."""
    return fom < than if mode == "min" else fom > than
