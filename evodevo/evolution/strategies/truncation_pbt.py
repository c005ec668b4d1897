"""Population-based training as it was first described: the worst copy one of the best, and explore.

Jaderberg et al. 2017, "Population Based Training of Neural Networks", arXiv 1711.09846.
"""

from typing import ClassVar

from pydantic import BaseModel, Field

from evodevo.evolution.mutation import explore
from evodevo.evolution.strategies import base


class TruncationOptions(base.CommonOptions):
    fraction: float = Field(default=0.2, gt=0, le=0.5)
    """The part of the population that copies, and the part it copies from; one member at the least."""
    resample_probability: float = Field(default=0.25, ge=0, le=1)
    """Probability that a locus is drawn anew instead of being multiplied by 0.8 or 1.2."""


class TruncationPBT(base.Strategy):
    Options: ClassVar[type[BaseModel]] = TruncationOptions
    options: TruncationOptions

    def birth(self, generation: int, slot: int, parents: base.Population) -> base.Birth:
        own = parents.members[slot]
        count = max(1, int(len(parents.members) * self.options.fraction + 1e-9))  # 0.29 of 100 is 29
        if parents.survives(slot) and slot not in parents.ranking[-count:]:
            return base.Birth(own.birth.genome, parent_a=own.id, parent_params=own.id)
        draw = self.stream(generation, slot, "exploit")
        best = [at for at in parents.ranking[:count] if parents.survives(at)]
        if not best:
            raise ValueError("no member of the generation survived to be copied")
        donor = parents.members[best[int(draw.integers(len(best)))]]
        genome = explore(self.space, donor.birth.genome, self.options.resample_probability, draw)
        return base.Birth(genome, parent_a=donor.id, parent_params=donor.id)
