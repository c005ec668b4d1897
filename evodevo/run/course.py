"""Decide after each leg whether a life continues, starts another repeat, or ends. Pure.

A life from scratch consists of `objective.repeats` trainings with different seeds, each of at most
`search.legs` legs.
"""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import replace

from evodevo.config import RunConfig
from evodevo.evolution.fitness import Mode, best_first, is_better
from evodevo.evolution.population import Member
from evodevo.run.events import Result
from evodevo.run.history import History
from evodevo.run.life import Life, Mean
from evodevo.run.records import Outcome
from evodevo.run.stopping import is_out_of_patience

PATIENCE = "patience"


def closed(config: RunConfig, legs: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a repeat, given those of its legs: the last one or the best one.

    If the best leg is not the last, the parameters after the best leg are kept.
    """
    last = legs[-1]
    if last.status != "done" or config.objective.over == "last":
        return last
    best = legs[best_first([leg.fom for leg in legs], config.objective.mode)[0]]
    return _with_result_of(best, last)


def middle(config: RunConfig, repeats: Sequence[Outcome]) -> Outcome:
    """Return the repeat with the median fom; for an even number, the worse of the two in the middle."""
    ranking = best_first([one.fom for one in repeats], config.objective.mode)
    chosen = repeats[ranking[len(repeats) // 2]]
    foms = ", ".join(f"{one.fom:.6g}" for one in repeats)
    notes = (*chosen.notes, f"the median of {len(repeats)} repeats: {foms}")
    return replace(_with_result_of(chosen, repeats[-1]), notes=notes)


def _with_result_of(chosen: Outcome, last: Outcome) -> Outcome:
    """Return the last leg's outcome with the fom, metrics and checkpoint of another one."""
    return replace(last, fom=chosen.fom, metrics=chosen.metrics, checkpoint=chosen.checkpoint)


class Course:
    """Decides how the lives of one run continue.

    A birth waits until the generation `lag` before its own is complete.

    With `search.stop_early` a leg is compared with the same legs of members whose generations were complete
    when the life began, so the decision does not depend on workers. In the pace `steady` it is compared with
    those of all finished members.
    """

    def __init__(self, history: History, lag: int, judge: Callable[[Member, int], bool]) -> None:
        """Follow a history; `judge` says whether the strategy lets a member continue after a leg."""
        self._history = history
        self._judge = judge
        self._config = history.config
        self._lag = lag
        self._rivals: dict[int, list[float]] = {}
        """For each leg, the foms that it is compared with, in ascending order."""
        self._counted = 0
        """Number of members (or generations) whose foms are in `_rivals`."""

    def result(self, life: Life, outcome: Outcome) -> Result:
        """Return the result of the current leg."""
        begin = life.begins(len(life.legs))
        legs = [*(leg.outcome for leg in life.legs[begin:]), outcome]
        if outcome.status != "done" or isinstance(life, Mean):
            return Result(life.id, outcome)
        stopped = None
        if len(legs) < self._config.search.legs and not outcome.over:
            stopped = self._stops(life, [leg.fom for leg in legs], begin)
            member = replace(life.as_member(), fom=outcome.fom)
            if stopped is None and self._judge(member, len(legs) - 1):
                return Result(life.id, outcome, goes_on=True)
        repeats = [leg.outcome for leg in life.legs if leg.again]
        ended = closed(self._config, legs)
        if len(repeats) + 1 < self._config.objective.repeats and stopped in (None, PATIENCE):
            return Result(life.id, ended, goes_on=True, again=True, stopped=stopped)
        if repeats:
            ended = middle(self._config, [*repeats, ended])
        if stopped is not None:
            said = f"stopped early by {stopped}, after leg {len(legs)} of {self._config.search.legs}"
            ended = replace(ended, notes=(*ended.notes, said))
        return Result(life.id, ended, stopped=stopped)

    def _stops(self, life: Life, foms: Sequence[float | None], begin: int) -> str | None:
        """Return the rule that ends a life before its last leg; None if it continues."""
        search, mode = self._config.search, self._config.objective.mode
        if is_out_of_patience(foms, mode, search.patience):
            return PATIENCE
        rule, leg = search.stop_early, len(foms)
        if rule is None or begin or (rule == "halving" and leg & (leg - 1)):
            return None
        fom = foms[-1] if rule == "halving" else foms[best_first(foms, mode)[0]]
        rivals = self.rivals_of(life, leg - 1)
        return rule if rivals and fom is not None and _is_worse_than_half(fom, rivals, mode) else None

    def rivals_of(self, life: Life, leg: int) -> list[float]:
        """Return the foms, in ascending order, that a life's fom after a leg is compared with."""
        history = self._history
        if history.begun.pace == "steady":
            for other in history.over[self._counted :]:
                self._count(other)
            self._counted = len(history.over)
        else:
            # an older life must not be compared with generations that were completed after its birth
            settled = life.generation - self._lag + 1
            if settled < self._counted:
                self._rivals, self._counted = {}, 0
            for generation in range(self._counted, settled):
                for other in history.generations[generation]:
                    self._count(other)
            self._counted = max(self._counted, settled)
        return self._rivals.get(leg, [])

    def _count(self, life: Life) -> None:
        if life.same_as is not None:  # the legs of another run are not known
            if life.same_as not in self._history.by_id:
                return
            life = self._history.by_id[life.same_as]
        for leg, outcome in enumerate(life.outcomes()):
            if outcome.fom is not None and life.begins(leg) == 0:
                bisect.insort(self._rivals.setdefault(leg, []), outcome.fom)


def _is_worse_than_half(fom: float, rivals: Sequence[float], mode: Mode) -> bool:
    """Return whether a fom is worse than the median of `rivals`, which are in ascending order."""
    half = len(rivals) // 2
    median = rivals[half] if len(rivals) % 2 else rivals[half - 1] / 2 + rivals[half] / 2
    return is_better(median, fom, mode)


def candidates(config: RunConfig, life: Life) -> list[Outcome]:
    """Return the outcomes of earlier legs whose parameters an unfinished life may still keep."""
    found = [leg.outcome for leg in life.legs if leg.again]
    legs = [leg.outcome for leg in life.legs[life.begins(len(life.legs)) :]]
    return [*found, *([closed(config, legs)] if legs else []), *legs[-1:]]
