"""Functions for test_functions.py that workers import, and what its scripts share."""

import math
import os
import time


def paraboloid(x: float, y: float) -> float:
    return (x - 1) ** 2 + (y + 2) ** 2


def moody(x: float, kind: str) -> float:
    """A minimum at 0; it raises, or has no value, for some arguments."""
    if kind == "raises" and x > 0:
        raise ValueError(f"no root of {x}")
    if kind == "nan" and x < 0:
        return math.nan
    return abs(x)


def told_of(x: int, directory: str) -> float:
    """A minimum at 0; leaves a line for each call."""
    with open(os.path.join(directory, "calls"), "a") as file:
        file.write(f"{x}\n")
    return float(x * x)


def sleepy(x: int) -> float:
    if x > 2:
        time.sleep(60)
    return float(x)
