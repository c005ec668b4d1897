"""How many generations were planned when a member was trained, on which a schedule may depend."""

from collections.abc import Iterable

from evodevo.run.life import Life


class Lengths:
    """The numbers of generations that a run had before its extensions; empty for most runs."""

    def __init__(self) -> None:
        self._before: list[tuple[int, dict[str, int]]] = []
        """For each extension, the number before it and how many legs each member had been trained by then."""

    def extended(self, before: int, lives: Iterable[Life]) -> None:
        """Record an extension of a run that had `before` generations."""
        self._before.append((before, {life.id: sum(1 for _ in life.outcomes()) for life in lives}))

    def revived(self, life: Life) -> None:
        """Forget a member that starts anew."""
        for _, legs in self._before:
            legs.pop(life.id, None)

    def at(self, life: Life, leg: int) -> int | None:
        """Return the number when a leg was trained; None if it is the current one."""
        return next((before for before, legs in self._before if leg < legs.get(life.id, 0)), None)
