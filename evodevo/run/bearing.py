"""Births of members with several networks (`search.ploidy`), built from a strategy's answers. Pure.

A strategy handles members with a single genome. With `search.genomes: one` its births are used as they are,
and each network is inherited from α or β. Otherwise each network has a separate genome, and the network in
place i is born as a member is: from the genomes in place i of the parents that the strategy draws, with a
seed for that place. The member's genome combines those of its networks (`evodevo.evolution.ploidy`).
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

from evodevo.evolution import rng
from evodevo.evolution.ploidy import combined
from evodevo.evolution.population import Birth, Member, Network, Population
from evodevo.evolution.strategies import Strategy
from evodevo.run.guard import Guarded
from evodevo.run.life import Mean


class Bearing:
    """Creates births of members with `ploidy` networks; with `each`, every network has its own genome."""

    def __init__(self, strategy: Strategy, guarded: Guarded, ploidy: int = 1, each: bool = False) -> None:
        self._strategy = guarded
        self._space = strategy.space
        self._ploidy = ploidy
        self._places = [guarded]
        for at in range(1, ploidy if each else 1):
            own = copy.copy(strategy)
            own.seed = rng.network_seed(strategy.seed, at)
            self._places.append(Guarded(own))
        for place in self._places:
            place.ploidy = ploidy
        self._each = each

    def founder(self, generation: int, slot: int) -> Birth:
        birth, *others = [place.founder(generation, slot) for place in self._places]
        return self._with_genomes(birth, others)

    def child(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        of_place = [self._in_place(parents, at) for at in range(len(self._places))]
        birth, *others = [
            place.birth(generation, slot, its, own) for place, its in zip(self._places, of_place, strict=True)
        ]
        if self._ploidy > 1 and self._strategy.inherits and birth.parent_params and not birth.networks:
            beta = self._strategy.beta(generation, slot, of_place[0], own, birth)
            draw = rng.stream(self._strategy.seed, generation, slot, "networks")
            givers = birth.parent_params, beta
            chosen = [givers[int(at)] for at in draw.integers(2, size=self._ploidy)]
            birth = replace(birth, networks=tuple(map(Network, chosen)))
        return self._with_genomes(birth, others)

    def of_mean(self, own: Member, mean: Mean) -> Birth:
        """Return a birth that starts from a mean and keeps the member's hyperparameters.

        A member that failed gets the hyperparameters of the best one.
        """
        kept = mean.of[0].birth if own.fom is None else own.birth
        birth = Birth(kept.genome, own.id, own.id, mean.id)
        if self._ploidy == 1:
            return birth
        genomes = [network.genome for network in kept.networks] or [None] * self._ploidy
        return replace(birth, networks=tuple(Network(mean.id, genome) for genome in genomes))

    def _with_genomes(self, birth: Birth, others: Sequence[Birth]) -> Birth:
        """Return a birth whose further networks have the genomes of `others`."""
        if not self._each or any(network.genome is not None for network in birth.networks):
            return birth
        genomes = [birth.genome, *(one.genome for one in others)]
        networks = birth.networks or (Network(None),) * self._ploidy
        own = tuple(replace(one, genome=its) for one, its in zip(networks, genomes, strict=True))
        return replace(birth, genome=combined(self._space, genomes), networks=own)

    def _in_place(self, parents: Population, place: int) -> Population:
        """Return the parents as if each had only the genome of its network in `place`."""
        if not self._each or not all(one.birth.networks for one in parents.members):
            return parents
        return self._strategy.evaluated([_of_place(one, place) for one in parents.members])


def _of_place(member: Member, place: int) -> Member:
    genome = member.birth.networks[place].genome
    if genome is None:
        return member
    return replace(member, birth=replace(member.birth, genome=dict(genome)))
