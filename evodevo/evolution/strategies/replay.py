"""Replay another run's schedule with a single member, for `evodevo replay`."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from evodevo.evolution.population import Birth, Member, Network, Population
from evodevo.evolution.strategies import base


class ReplayedNetwork(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    genome: dict[str, Any]
    training_seed: int


class ReplayOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    genomes: list[dict[str, Any]]
    training_seeds: list[int]
    legs: list[int] = []
    """Legs of each life; by default those of the config."""
    networks: list[list[ReplayedNetwork]] = []
    """Networks of each life, if members have several; each has its own lineage."""


class Replay(base.Strategy):
    keeps_to_itself: ClassVar[bool] = True
    keeps_to_bounds: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = ReplayOptions
    smallest_population = 1
    options: ReplayOptions

    @property
    def most_generations(self) -> int:
        return len(self.options.genomes)

    def founder(self, generation: int, slot: int) -> Birth:
        seed = self.options.training_seeds[0]
        return Birth(self.options.genomes[0], training_seed=seed, networks=self._networks(0, None))

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        before = parents.members[own].id
        return Birth(
            self.options.genomes[generation],
            parent_a=before,
            parent_params=before,
            training_seed=self.options.training_seeds[generation],
            networks=self._networks(generation, before),
        )

    def _networks(self, generation: int, parent: str | None) -> tuple[Network, ...]:
        if not self.options.networks:
            return ()
        return tuple(
            Network(parent, one.genome, one.training_seed) for one in self.options.networks[generation]
        )

    def judge(self, member: Member, leg: int) -> bool:
        """Return whether the original continued, too."""
        return not self.options.legs or leg + 1 < self.options.legs[member.generation]
