"""Implement population-based training as first described: the worst copy one of the best, and explore.

Jaderberg et al. 2017, "Population Based Training of Neural Networks", arXiv 1711.09846.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, Field

from evodevo.evolution.mutation import explore
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.selection import rounded_down
from evodevo.evolution.strategies import base


class TruncationOptions(base.CommonOptions):
    fraction: float = Field(default=0.2, gt=0, le=0.5)
    """Fraction of the population that copies, and fraction that is copied from; at least one member each."""
    resample_probability: float = Field(default=0.25, ge=0, le=1)
    """Probability that a locus is resampled instead of being multiplied by 0.8 or 1.2."""


class TruncationPBT(base.Strategy):
    Options: ClassVar[type[BaseModel]] = TruncationOptions
    paces: ClassVar[Sequence[base.Pace]] = ("generations", "pools", "steady")
    options: TruncationOptions

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        if self._is_kept(parents, own):
            kept = parents.members[own]
            return Birth(kept.birth.genome, parent_a=kept.id, parent_params=kept.id)
        draw = self.stream(generation, slot, "exploit")
        donor = self._donor(parents, draw)
        genome = explore(self.space, donor.birth.genome, self.options.resample_probability, draw)
        return Birth(genome, parent_a=donor.id, parent_params=donor.id)

    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        """Return one of the best, drawn independently; for a member that is kept, the member itself."""
        if self._is_kept(parents, own):
            return parents.members[own].id
        return self._donor(parents, self.stream(generation, slot, "beta")).id

    def _is_kept(self, parents: Population, own: int) -> bool:
        return parents.survives(own) and parents.rank(own) < len(parents.members) - self._count(parents)

    def _donor(self, parents: Population, draw: np.random.Generator) -> Member:
        best = min(self._count(parents), parents.survivors)
        if not best:
            raise ValueError("no member of the generation has a fom, so none can be copied")
        return parents.members[parents.ranking[int(draw.integers(best))]]

    def _count(self, parents: Population) -> int:
        return max(1, rounded_down(self.options.fraction * len(parents.members)))
