"""Standard test functions of five arguments, each with its minimum of 0 at a point drawn for each seed.

From Surjanovic and Bingham, "Virtual Library of Simulation Experiments: Test Functions and Datasets", with
their boxes. The position of the minimum is drawn uniformly from the middle 80 % of the box, so it is neither
at 0 nor at the center, and differs between arguments.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 5
NAMES = [f"x{at}" for at in range(DIMENSIONS)]
Point = NDArray[np.float64]
STYBLINSKI = -2.903534027771177
"""Where each coordinate of the Styblinski-Tang function's minimum lies."""


def sphere(z: Point) -> float:
    return float((z**2).sum())


def rosenbrock(z: Point) -> float:
    return float((100 * (z[1:] - z[:-1] ** 2) ** 2 + (z[:-1] - 1) ** 2).sum())


def rastrigin(z: Point) -> float:
    return float((z**2 - 10 * np.cos(2 * np.pi * z) + 10).sum())


def ackley(z: Point) -> float:
    root, mean = np.sqrt((z**2).mean()), np.cos(2 * np.pi * z).mean()
    return float(-20 * np.exp(-0.2 * root) - np.exp(mean) + 20 + np.e)


def griewank(z: Point) -> float:
    return float((z**2).sum() / 4000 - np.cos(z / np.sqrt(np.arange(1, DIMENSIONS + 1))).prod() + 1)


def levy(z: Point) -> float:
    w = 1 + (z - 1) / 4
    inner = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    return float(np.sin(np.pi * w[0]) ** 2 + inner + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2))


def styblinski_tang(z: Point) -> float:
    return float((z**4 - 16 * z**2 + 5 * z).sum() / 2 + 39.16616570377142 * DIMENSIONS)


@dataclass(frozen=True)
class Case:
    """A function, the half width of its box around 0, and each coordinate of its minimum as published."""

    function: Callable[[Point], float]
    half: float
    optimum: float = 0.0


CASES: Mapping[str, Case] = {
    "sphere": Case(sphere, 5.12),
    "rosenbrock": Case(rosenbrock, 5.0, 1.0),
    "rastrigin": Case(rastrigin, 5.12),
    "ackley": Case(ackley, 32.768),
    "griewank": Case(griewank, 600.0),
    "levy": Case(levy, 10.0, 1.0),
    "styblinski_tang": Case(styblinski_tang, 5.0, STYBLINSKI),
}


class Moved:
    """A function of the suite, shifted by an amount drawn from the seed; called with x0=..., x1=..., ..."""

    def __init__(self, name: str, seed: int) -> None:
        self.case = CASES[name]
        draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self.at = draw.uniform(-0.8 * self.case.half, 0.8 * self.case.half, DIMENSIONS)

    def __call__(self, **values: float) -> float:
        x = np.array([values[name] for name in NAMES])
        return self.case.function(x - self.at + self.case.optimum)
