"""Search at random: every slot keeps its hyperparameters and its parameters to the end.

This is the baseline at equal compute: members do not influence each other. A slot that failed starts again
with a new founder. If members train from scratch, all are sampled independently.
"""

from collections.abc import Sequence
from typing import ClassVar

from evodevo.evolution.population import Birth, Population
from evodevo.evolution.strategies import base


class RandomSearch(base.Strategy):
    keeps_to_itself: ClassVar[bool] = True

    def needs(self, generation: int, slot: int) -> Sequence[int]:
        return [slot]

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        if not self.inherits:
            return Birth(self.space.sample(self.stream(generation, slot, "founder")))
        if not parents.survives(own):
            return self.founder(generation, slot)
        before = parents.members[own]
        return Birth(before.birth.genome, parent_a=before.id, parent_params=before.id)
