"""Turn figures of merit into relative fitness; only here are NaN, failures and ties decided."""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

Mode = Literal["min", "max"]
Shape = Literal["linear", "squared"]
Foms: TypeAlias = NDArray[np.float64]
"""float64 (members,), NaN for a member without a fom."""

DEFAULT_SIGMA = 5.0


def is_usable(fom: float | None) -> TypeGuard[float]:
    """Return whether a figure of merit can be compared: it is not None, NaN or infinite."""
    return fom is not None and math.isfinite(fom)


def as_foms(foms: Sequence[float | None] | Foms) -> Foms:
    """Return foms as an array, with NaN for None."""
    if isinstance(foms, np.ndarray):
        return foms
    return np.array([math.nan if fom is None else fom for fom in foms], dtype=np.float64)


def relative_fitness(
    foms: Sequence[float | None] | Foms,
    mode: Mode,
    sigma: float = DEFAULT_SIGMA,
    shape: Shape = "linear",
) -> NDArray[np.float64]:
    """Return the fitness, in (0, 1], of the foms of one generation; unusable foms have 0.

    With x = (fom - best) / (worst - best), where best and worst are over usable foms, the fitness is
    `exp(-sigma * x^2)` if `shape` is squared, the rule of Vose et al. 2019 (arXiv 1901.03900), and
    `exp(-sigma * x)` if it is linear. If all usable foms are equal, all have 1.
    """
    known = as_foms(foms)
    usable = np.isfinite(known)
    fitness = usable.astype(np.float64)
    halves = known[usable] / 2  # the span of foms may exceed the largest float
    if halves.size:
        best, worst = (halves.min(), halves.max()) if mode == "min" else (halves.max(), halves.min())
        if worst != best:
            x = (halves - best) / (worst - best)
            fitness[usable] = np.exp(-sigma * (x * x if shape == "squared" else x))
    return fitness


def badness(foms: Sequence[float | None] | Foms, mode: Mode) -> Foms:
    """Return numbers to minimise: smaller for better foms, infinity for unusable ones."""
    known = as_foms(foms)
    return np.where(np.isfinite(known), known if mode == "min" else -known, math.inf)


def best_first(foms: Sequence[float | None] | Foms, mode: Mode) -> list[int]:
    """Return positions from the best fom to the worst; ties keep their order, unusable foms come last."""
    return [int(at) for at in np.argsort(badness(foms, mode), kind="stable")]


def is_better(fom: float, than: float, mode: Mode) -> bool:
    """Return whether a usable fom is strictly better than another."""
    return fom < than if mode == "min" else fom > than
