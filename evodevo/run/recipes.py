"""How checkpoints were made, and which have to be remade to restore others. Pure.

A checkpoint is made from the one that its leg started from (a mean from those of its members). If that one is
missing, it is remade first, and so on up the line, to a founder if necessary.

    targets: g003s001     whole: g001s002     plan: g002s000 (from g001s002), g003s001
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from evodevo.run.assigning import inputs_of
from evodevo.run.history import History
from evodevo.run.life import Life, Mean
from evodevo.run.records import CheckpointRef


@dataclass(frozen=True, eq=False)
class Recipe:
    """How `ref` was made: `life` left it after a leg of `epochs` epochs that started from `inputs`."""

    ref: CheckpointRef
    life: Life
    leg: int
    inputs: tuple[CheckpointRef, ...]
    epochs: int


class CannotRemakeError(Exception):
    """No member of the run left the checkpoint, so it cannot be remade."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "no member of the run left it; it came from the run that search.start or search.reuse names, "
            "which no longer has it"
        )
        self.name = name


class Recipes:
    """The recipes of all checkpoints of a history as it is now."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._made_by: dict[str, tuple[CheckpointRef, Life, int]] = {}
        for life in chain(history.births, history.means.values()):
            for leg, outcome in enumerate(life.outcomes()):
                if (ref := outcome.checkpoint) and not life.same_as:
                    self._made_by.setdefault(ref.name, (ref, life, leg))  # later legs may have kept it

    def of(self, name: str) -> Recipe | None:
        """Return the recipe of a checkpoint; None if no member of the run left it."""
        if name not in self._made_by:
            return None
        ref, life, leg = self._made_by[name]
        epochs = 0 if isinstance(life, Mean) else self._history.config.search.leg_epochs(life.generation)
        return Recipe(ref, life, leg, inputs_of(self._history, life, leg), epochs)


def plan(
    recipes: Recipes,
    targets: Iterable[CheckpointRef],
    whole: Mapping[str, bool],
    begun: Collection[str] = (),
) -> tuple[list[Recipe], list[CheckpointRef]]:
    """Return what must be made to restore `targets`, inputs first, and the checkpoints not yet checked.

    `whole` says, by name, whether a checkpoint is intact; those in `begun` are already being remade. If any
    are unchecked, check them and call again. Raises `CannotRemakeError`.
    """
    order: list[Recipe] = []
    unknown: list[CheckpointRef] = []
    seen = set(begun)
    stack: list[CheckpointRef | Recipe] = list(targets)
    stack.reverse()
    while stack:
        at = stack.pop()
        if isinstance(at, Recipe):
            order.append(at)
        elif at.name not in seen:
            seen.add(at.name)
            if at.name not in whole:
                unknown.append(at)
            elif not whole[at.name]:
                recipe = recipes.of(at.name)
                if recipe is None:
                    raise CannotRemakeError(at.name)
                stack.append(recipe)
                stack.extend(reversed(recipe.inputs))
    return order, unknown
