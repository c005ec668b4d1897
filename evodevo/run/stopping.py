"""Decide when a run ends before its last generation. Pure; a run that must fail raises `RunFailed`."""

from collections.abc import Sequence
from itertools import chain

from evodevo.errors import RunFailed
from evodevo.evolution.fitness import Mode, best_first, is_better
from evodevo.evolution.growth import Phases
from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.records import Outcome

ENOUGH_TO_JUDGE = 5
"""Without generations, `limits.max_failed_fraction` is a fraction of at least this many members."""


def time_is_up(history: History) -> bool:
    limit = history.config.limits.wall_time_s
    return limit is not None and history.elapsed_s > limit


def goal_is_reached(history: History) -> bool:
    """Return whether a member has reached `search.goal`.

    In paces with generations, the others of its generation are born by then, and those of the next one wait
    for all of them: which members are born does not depend on when this is asked.
    """
    goal, best = history.config.search.goal, history.best
    if goal is None or best is None or best.fom is None:
        return False
    return not is_better(goal, best.fom, history.config.objective.mode)


def is_on_plateau(history: History) -> bool:
    """Return whether the last `search.plateau` complete generations brought no better fom than before.

    As with a goal, no generation starts before the one before it is complete.
    """
    plateau, best = history.config.search.plateau, history.best
    if plateau is None or best is None:
        return False
    return history.completed() - 1 - best.generation >= plateau


def epochs_are_used_up(history: History) -> bool:
    """Return whether members have been trained for `limits.member_epochs`."""
    limit = history.config.limits.member_epochs
    return limit is not None and member_epochs(history) >= limit


def member_epochs(history: History) -> int:
    """Return how many epochs all finished members together have been trained.

    One that took the outcome of another was not trained. Lost attempts do not count.
    """
    search = history.config.search
    return sum(
        search.leg_epochs(life.generation) * (len(life.legs) + 1)
        for life in history.over
        if life.same_as is None
    )


def small_gain(history: History) -> str | None:
    """Return a message if the last complete phase gained less than `search.phases.gain`, else None.

    The gain is that of its best fom over that of the phase before. Phases are counted from 0.
    """
    phases = history.config.search.phases
    if phases is None or phases.gain is None:
        return None
    last = history.completed() // phases.generations - 1
    if last < 1:
        return None
    mode = history.config.objective.mode
    before, after = (_best_fom(history, phases, phase) for phase in (last - 1, last))
    if before is None or after is None:
        return None
    gain = before - after if mode == "min" else after - before
    said = f"phase {last} brought {gain:g}, less than search.phases.gain = {phases.gain:g}"
    return said if gain < phases.gain else None


def _best_fom(history: History, phases: Phases, phase: int) -> float | None:
    first = phase * phases.generations
    lives = chain.from_iterable(history.generations[first : first + phases.generations])
    foms = [life.fom for life in lives if life.fom is not None]
    return foms[best_first(foms, history.config.objective.mode)[0]] if foms else None


def is_enough(history: History) -> bool:
    """Return whether there are to be no more births, though the config has more generations."""
    return (
        goal_is_reached(history)
        or is_on_plateau(history)
        or time_is_up(history)
        or epochs_are_used_up(history)
        or small_gain(history) is not None
    )


def reason(history: History) -> str | None:
    """Return why a run without further births ends; None if it has had its last generation."""
    search, limits = history.config.search, history.config.limits
    if goal_is_reached(history):
        assert history.best is not None
        return f"search.goal = {search.goal:g} is reached: {history.best.id} has {history.best.fom:g}"
    if len(history.over) == search.generations * search.population:
        return None
    if is_on_plateau(history):
        metric = history.config.objective.metric
        return f"search.plateau = {search.plateau} generations brought no better {metric}"
    if said := small_gain(history):
        return said
    if epochs_are_used_up(history):
        return f"limits.member_epochs = {limits.member_epochs} are used up: {member_epochs(history)}"
    assert limits.wall_time_s is not None, "births are missing, but no limit has ended the run"
    return f"limits.wall_time_s = {limits.wall_time_s:g} is used up"


def is_out_of_patience(foms: Sequence[float | None], mode: Mode, patience: int | None) -> bool:
    """Return whether a life, given the foms of its legs, has not improved for `patience` legs."""
    return patience is not None and len(foms) - 1 - best_first(foms, mode)[0] >= patience


def check_failures(history: History, newly_over: Sequence[Life]) -> None:
    """Raise `RunFailed`, with the first error, if too many members failed or none can be a parent.

    Each generation is judged when it is complete; without generations, all finished members are judged
    together.
    """
    if not newly_over or not history.unsuccessful:
        return
    if history.in_generations:
        for generation in sorted({life.generation for life in newly_over}):
            if history.complete(generation):
                lives = history.generations[generation]
                _check(history, lives, len(lives), f"of generation {generation}")
        return
    done, total = len(history.over), history.config.search.generations * history.config.search.population
    enough = done >= ENOUGH_TO_JUDGE or done == total
    of = done if enough else ENOUGH_TO_JUDGE
    if history.best and history.failed <= history.config.limits.max_failed_fraction * of:
        return
    lives = sorted(history.over, key=lambda life: (life.generation, life.slot))
    _check(history, lives, of, "so far" if enough else "at the beginning")


def check_budget(history: History, outcome: Outcome, generations: int) -> None:
    """Raise `RunFailed` if checkpoints of this size need more bytes than `checkpoints.max_bytes`.

    Up to `generations` generations of them can exist at once, plus the best and what the run started from.
    """
    budget = history.config.checkpoints.max_bytes
    if budget is None or outcome.checkpoint is None:
        return
    needed = outcome.checkpoint.size_bytes * (generations * history.config.search.population + 1)
    needed += history.start.size_bytes if history.start else 0
    if needed > budget:
        raise RunFailed(
            f"checkpoints of {outcome.checkpoint.size_bytes:,} bytes need up to {needed:,} bytes for a "
            f"population of {history.config.search.population}; checkpoints.max_bytes is {budget:,}"
        )


def _check(history: History, lives: Sequence[Life], of: int, which: str) -> None:
    failed = [life for life in lives if life.status == "failed"]
    limit = history.config.limits.max_failed_fraction
    if len(failed) > limit * of:
        raise RunFailed(
            f"{len(failed)} of {len(lives)} members {which} failed "
            f"(limits.max_failed_fraction = {limit:g}); {_first_error(failed)}"
        )
    if of == len(lives) and not any(life.fom is not None for life in lives):
        fate = f"{len(failed)} failed, {len(lives) - len(failed)} diverged; {_first_error(failed)}"
        raise RunFailed(
            f"no member {which} has a finite {history.config.objective.metric}: "
            f"{fate if failed else 'all diverged'}"
        )


def _first_error(failed: Sequence[Life]) -> str:
    """Return the error of the first of the failed members; empty if there are none."""
    return "".join(f"the first, {life.id}:\n{life.outcome.error}" for life in failed[:1] if life.outcome)
