"""Random search: every slot keeps its hyperparameters and its parameters to the end.

The yardstick at equal compute: nothing is learned from one member for another. A slot that failed has
nothing to go on with and starts afresh, with a new founder.
"""

from evodevo.evolution.strategies import base


class RandomSearch(base.Strategy):
    def birth(self, generation: int, slot: int, parents: base.Population) -> base.Birth:
        if not parents.survives(slot):
            return self.founder(generation, slot)
        own = parents.members[slot]
        return base.Birth(own.birth.genome, parent_a=own.id, parent_params=own.id)
