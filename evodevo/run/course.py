"""What the result of a leg means for a life: it goes on, begins anew with another repeat, or is over. Pure.

A life from scratch is `objective.repeats` trainings with different seeds, of `search.legs` legs at the most.
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
    """Return what a repeat came to, by the outcomes of its legs: the last one, or the best one.

    If that is not the last, the parameters that are kept are those after the best leg.
    """
    last = legs[-1]
    if last.status != "done" or config.objective.over == "last":
        return last
    best = legs[best_first([leg.fom for leg in legs], config.objective.mode)[0]]
    return _with_result_of(best, last)


def middle(config: RunConfig, repeats: Sequence[Outcome]) -> Outcome:
    """Return the repeat with the median fom; of an even number the worse of the two in the middle."""
    ranking = best_first([one.fom for one in repeats], config.objective.mode)
    chosen = repeats[ranking[len(repeats) // 2]]
    foms = ", ".join(f"{one.fom:.6g}" for one in repeats)
    notes = (*chosen.notes, f"the median of {len(repeats)} repeats: {foms}")
    return replace(_with_result_of(chosen, repeats[-1]), notes=notes)


def _with_result_of(chosen: Outcome, last: Outcome) -> Outcome:
    """Return the last leg's outcome with the figures and the parameters of another one."""
    return replace(last, fom=chosen.fom, metrics=chosen.metrics, checkpoint=chosen.checkpoint)


class Course:
    """Decides about the lives of one run. `lag`: a birth waits for the whole generation so many before it.

    With `search.stop_early` a leg is compared with the same legs of members whose generations were complete
    when the life began (without generations: of all that are over), so that it does not depend on workers.
    """

    def __init__(self, history: History, lag: int, judge: Callable[[Member, int], bool]) -> None:
        """`judge`: whether a strategy has a member go on after a leg."""
        self._history = history
        self._judge = judge
        self._config = history.config
        self._lag = lag
        self._rivals: dict[int, list[float]] = {}
        """For each leg, the foms that it is compared with, ascending."""
        self._counted = 0
        """Members (or generations) whose foms are among them."""

    def result(self, life: Life, outcome: Outcome) -> Result:
        """Return the result of the leg at hand."""
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
        """Return the rule by which a life ends before its last leg; None if it goes on."""
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
        """Return the foms, ascending, that a life's fom after a leg is compared with."""
        history = self._history
        if history.begun.pace == "steady":
            for other in history.over[self._counted :]:
                self._count(other)
            self._counted = len(history.over)
        else:
            # what is counted once may be more than an older life, which was born before it, may know
            settled = life.generation - self._lag + 1
            if settled < self._counted:
                self._rivals, self._counted = {}, 0
            for generation in range(self._counted, settled):
                for other in history.generations[generation]:
                    self._count(other)
            self._counted = max(self._counted, settled)
        return self._rivals.get(leg, [])

    def _count(self, life: Life) -> None:
        if life.same_as is not None:  # of another run's legs nothing is known
            if life.same_as not in self._history.by_id:
                return
            life = self._history.by_id[life.same_as]
        for leg, outcome in enumerate(life.outcomes()):
            if outcome.fom is not None and life.begins(leg) == 0:
                bisect.insort(self._rivals.setdefault(leg, []), outcome.fom)


def _is_worse_than_half(fom: float, rivals: Sequence[float], mode: Mode) -> bool:
    """Whether a fom is worse than the median of others, which are ascending."""
    half = len(rivals) // 2
    median = rivals[half] if len(rivals) % 2 else rivals[half - 1] / 2 + rivals[half] / 2
    return is_better(median, fom, mode)


def candidates(config: RunConfig, life: Life) -> list[Outcome]:
    """Return the outcomes of earlier legs of a life that is not over whose parameters may yet be kept."""
    found = [leg.outcome for leg in life.legs if leg.again]
    legs = [leg.outcome for leg in life.legs[life.begins(len(life.legs)) :]]
    return [*found, *([closed(config, legs)] if legs else []), *legs[-1:]]
