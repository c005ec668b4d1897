"""Cross two genomes into one, or into two that complement each other."""

from typing import Literal

import numpy as np

from evodevo.evolution.space import Genome, Value

Kind = Literal["single_locus", "switch_following"]


def complementary(
    a: Genome, b: Genome, rate: float, kind: Kind, rng: np.random.Generator
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Cross `a` and `b` (same loci, same order); an event happens at each locus with probability `rate`.

    single_locus: an event swaps only that locus (Vose et al. 2019).
    switch_following: an event switches the source of that locus and of all that follow (their section 6.1),
    so adjacent loci of the config tend to stay together.
    """
    events = rng.random(len(a)) < rate
    swapped = events if kind == "single_locus" else np.logical_xor.accumulate(events)
    one = {name: (b if swap else a)[name] for name, swap in zip(a, swapped, strict=True)}
    other = {name: (a if swap else b)[name] for name, swap in zip(a, swapped, strict=True)}
    return one, other


def uniform(a: Genome, b: Genome, rng: np.random.Generator) -> dict[str, Value]:
    """Take each locus from `a` or `b` (same loci, same order), with equal probability."""
    return {name: (a if rng.random() < 0.5 else b)[name] for name in a}
