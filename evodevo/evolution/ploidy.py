"""Combine the genomes of a member that has several."""

import math
from collections import Counter
from collections.abc import Sequence

from evodevo.evolution.space import FloatLocus, Genome, IntLocus, Space, Value, same, text_of


def combined(space: Space, genomes: Sequence[Genome]) -> dict[str, Value]:
    """Combine genomes: the mean of numbers, on the scale of their locus, and the majority of other values.

    Of equally frequent values the first one wins; a mean of whole numbers is rounded.
    """
    found: dict[str, Value] = {}
    for name, locus in space.loci.items():
        values = [genome[name] for genome in genomes]
        if all(same(value, values[0]) for value in values):
            found[name] = values[0]
        elif isinstance(locus, FloatLocus | IntLocus):
            mean = _mean([float(value) for value in values], locus.scale == "log")  # type: ignore[arg-type]
            found[name] = round(mean) if isinstance(locus, IntLocus) else mean
        else:
            found[name] = _most_frequent(values)
    return found


def _mean(values: Sequence[float], on_logarithms: bool) -> float:
    """Return the arithmetic or geometric mean, clipped to the range of the values against rounding."""
    if on_logarithms:
        mean = math.exp(math.fsum(map(math.log, values)) / len(values))
    else:
        mean = math.fsum(values) / len(values)
    return min(max(mean, min(values)), max(values))


def _most_frequent(values: Sequence[Value]) -> Value:
    counts = Counter((type(value).__name__, text_of(value)) for value in values)
    most = max(counts.values())
    return next(value for value in values if counts[type(value).__name__, text_of(value)] == most)
