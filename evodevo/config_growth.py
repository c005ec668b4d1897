"""Check searches in which genomes grow (`search.phases`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evodevo.config_errors import nearest
from evodevo.evolution.space import IntLocus, Space
from evodevo.evolution.strategies import Strategy

if TYPE_CHECKING:
    from evodevo.config import RunConfig


def problems(config: RunConfig, strategy: type[Strategy]) -> list[str]:
    """Return one line per problem, beginning with its key."""
    search = config.search
    phases, name = search.phases, search.strategy
    if phases is None:
        missing = "search.phases: is missing; give lengths, such as {lengths: [1, 2, 3], generations: 3}"
        return [f"{missing}, as genomes of {name} grow from phase to phase"] if strategy.grows else []
    if not strategy.grows:
        return [f"search.phases: genomes of {name} do not grow; leave it out, or use variable_length"]
    found = []
    if search.recombine is not None or search.soup:
        key = "recombine" if search.recombine is not None else "soup"
        found.append(f"search.{key}: networks of different genomes cannot be averaged; leave it out")
    if isinstance(search.epochs_per_generation, list):
        found.append(
            "search.epochs_per_generation: survivors are not trained again, so lives of different lengths "
            "cannot be compared; give one number for all generations"
        )
    locus = search.loci.get(phases.locus)
    if locus is None:
        known = nearest(phases.locus, list(search.loci))
        return [*found, f"search.phases.locus: {phases.locus} is not a locus; {known}"]
    if not isinstance(locus, IntLocus):
        return [*found, f"search.phases.locus: {phases.locus} is of type {locus.type}; give an int locus"]
    for phase, length in enumerate(phases.lengths):
        if not locus.contains(length):
            found.append(
                f"search.phases.lengths: {length} is not a value of {phases.locus}; give values from "
                f"{locus.low} to {locus.high}"
            )
        elif not phases.tail(Space(search.loci), phase):
            found.append(f"search.phases.lengths: {length} adds no locus that evolves; leave it out")
    return found
