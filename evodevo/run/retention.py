"""Decide which checkpoints are kept. Pure."""

from collections.abc import Callable, Iterator
from itertools import islice

from evodevo.run.assigning import inputs_of
from evodevo.run.course import candidates
from evodevo.run.history import History
from evodevo.run.life import Life, Mean
from evodevo.run.pacing import DRIFT
from evodevo.run.records import CheckpointRef


def needed_checkpoints(
    history: History,
    may_inherit: Callable[[Life], bool] = lambda life: True,
    may_retry: Callable[[Life], bool] = lambda life: True,
) -> set[str]:
    """Return the names of the checkpoints that a future child, the best, or an unfinished member needs.

    What the founders started from is kept as well: a founder can be born again, and a replay starts from it.
    `may_inherit`: whether a future child can inherit from a member; `may_retry`: whether a failed member can
    be tried again. The run's pacing knows both; by default they are assumed for the last generations.
    """
    needed = {history.start.name} if history.start else set()
    needed.update(outcome.checkpoint.name for _, outcome in history.known.values() if outcome.checkpoint)
    if history.soup:
        needed.add(history.soup.checkpoint.name)
    for life in [*_recent(history), *([history.best] if history.best else [])]:
        if (ref := _checkpoint(life)) and (life is history.best or may_inherit(life)):
            needed.add(ref.name)
        if life.status == "failed" and may_retry(life):
            needed.update(ref.name for ref in inputs_of(history, life, 0))
    if history.config.search.phases:
        needed.update(_of_a_phase(history))
    for mean in islice(reversed(history.means.values()), DRIFT):
        children = history.generations[mean.generation + 1 : mean.generation + 2]
        all_are_born = children and len(children[0]) == history.config.search.population
        if (ref := _checkpoint(mean)) and not all_are_born:
            needed.add(ref.name)
    for life in history.pending.values():
        if isinstance(life, Mean):
            needed.update(ref.name for ref in life.checkpoints)
            continue
        needed.update(one.checkpoint.name for one in candidates(history.config, life) if one.checkpoint)
        needed.update(ref.name for ref in inputs_of(history, life, len(life.legs)))
    return needed


def _recent(history: History) -> Iterator[Life]:
    """Yield the finished members that may still become parents."""
    if not history.inherits:
        return
    population = history.config.search.population
    if history.begun.pace == "steady":
        yield from islice(reversed(history.over), population)
        return
    newest = len(history.generations) - 1
    for generation in range(max(0, newest - DRIFT), newest + 1):
        if generation == newest or len(history.generations[generation + 1]) < population:
            yield from (life for life in history.generations[generation] if life.outcome)


def _of_a_phase(history: History) -> Iterator[str]:
    """Yield the names of further checkpoints that genomes growing in phases need.

    Children continue from what their parents continued from, and members take the outcomes of others.
    """
    for life in _recent(history):
        if life.outcome and (ref := history.parent_checkpoint(life)):
            yield ref.name
    for generation in sorted({life.generation for life in history.pending.values()} - {0}):
        for life in history.generations[generation - 1]:
            if ref := _checkpoint(life):
                yield ref.name


def _checkpoint(life: Life) -> CheckpointRef | None:
    return life.outcome.checkpoint if life.outcome else None
