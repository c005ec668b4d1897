"""Decide which members are averaged into a mean, and whether the mean is good enough. Pure.

Networks that share an ancestor are connected by low loss; those of different founders are not (Frankle et al.
2020, arXiv 1912.05671). A mean is therefore taken over members that descend from one founder, without those
that have nearly diverged, and children start from it only if it is no worse than the median of its members.
"""

from evodevo.evolution.fitness import Mode, is_better
from evodevo.evolution.population import Population
from evodevo.run.life import Life, Mean

OUTLYING = 2.0
"""A member is left out of a mean if its fom is further from the best than this many median distances."""


class Means:
    """The means of a run's generations, for the births of generation `first` and later ones.

    `shared`: all founders start with the same parameters, so all members are related.
    """

    def __init__(self, first: int, mode: Mode, shared: bool = False) -> None:
        self._first = first
        self._mode: Mode = mode
        self._shared = shared
        self._by_generation: dict[int, Mean] = {}
        self._founders: dict[str, tuple[str, ...]] = {}
        """The founder of each member's line; of several networks, that of each."""

    def are_for(self, generation: int) -> bool:
        """Return whether members of a generation start from a mean."""
        return generation >= max(1, self._first)

    def born(self, life: Life) -> None:
        """Record a birth and the founder of its line."""
        if self._shared:
            self._founders[life.id] = ()
            return
        birth, mean = life.birth, self._by_generation.get(life.generation - 1)
        parents = [network.parent for network in birth.networks] or [birth.parent_params]
        found = []
        for at, parent in enumerate(parents):
            alpha = mean.of[0].id if mean and parent == mean.id else parent
            own = self._founders.get(alpha or "", (life.id,))
            found.append(own[min(at, len(own) - 1)])  # a founder is the origin of all its networks
        self._founders[life.id] = own if own == (these := tuple(found)) else these

    def add(self, mean: Mean) -> None:
        """Record that a mean was requested."""
        self._by_generation[mean.generation] = mean

    def asked(self, generation: int) -> bool:
        """Return whether the mean of a generation was requested."""
        return generation in self._by_generation

    def there(self, generation: int) -> bool:
        """Return whether the requested mean of a generation has an outcome."""
        return self._by_generation[generation].outcome is not None

    def related(self, whole: Population) -> list[str]:
        """Return the members of a generation that are averaged, best first."""
        ranked = [whole.members[at] for at in whole.ranking[: whole.survivors]]
        if not ranked:
            return []
        best = ranked[0]
        distances = [abs((one.fom or 0.0) - (best.fom or 0.0)) for one in ranked]
        reach = OUTLYING * distances[len(distances) // 2]
        return [
            one.id
            for one, distance in zip(ranked, distances, strict=True)
            if distance <= reach and self._founders[one.id] == self._founders[best.id]
        ]

    def good(self, generation: int) -> Mean | None:
        """Return the mean of a generation if children start from it; None if it is missing or too bad."""
        mean = self._by_generation.get(generation)
        if mean is None or mean.fom is None:
            return None
        foms = sorted(life.fom for life in mean.of if life.fom is not None)
        median = foms[len(foms) // 2] if self._mode == "min" else foms[(len(foms) - 1) // 2]
        return None if is_better(median, mean.fom, self._mode) else mean
