"""The cost to reach a target over a life of several legs, in pure functions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

LEAST_SHORTFALL = 0.001
"""Minimum shortfall of a life that reached its goals, but not in enough evaluations in a row."""

Goals = Sequence[Mapping[str, Any]]
"""Goals, each with a `metric`, and `at_least` or `at_most`."""


def gap(goal: Mapping[str, Any], value: float) -> float:
    """Return how far a value is from a goal, in [0, 1]: |value - bound| / max(|value|, |bound|).

    It is 0 for a value that reaches the goal, and 1 for one that is not finite. Lower and upper bounds are
    treated alike.
    """
    bound: float = goal["at_least"] if "at_least" in goal else goal["at_most"]
    if not math.isfinite(value):
        return 1.0
    if value >= bound if "at_least" in goal else value <= bound:
        return 0.0
    return min(1.0, abs(value - bound) / max(abs(value), abs(bound)))


def shortfall_of(goals: Goals, metrics: Mapping[str, float]) -> float:
    """Return the mean gap of an evaluation, which is 0 if and only if all goals are reached.

    Raises `KeyError` if a metric of the goals is missing.
    """
    for goal in goals:
        if goal["metric"] not in metrics:
            raise KeyError(
                f"the workload reports {', '.join(metrics)}, but not {goal['metric']!r} of objective.target"
            )
    return sum(gap(goal, metrics[goal["metric"]]) for goal in goals) / len(goals)


class Standing:
    """The progress of a life towards its target, a `Job.target`.

    `in_a_row`: number of the latest evaluations in succession that reached the target. `shortfall`: of the
    closest evaluation, 1 without any. `reached_at`: cost at the evaluation that completed the required number
    in a row, or None if that has not happened or the cost was above the limit.
    """

    def __init__(self, target: Mapping[str, Any], progress: Mapping[str, float]) -> None:
        """Continue from the `Outcome.progress` of the previous leg."""
        self.goals: Goals = target["goals"]
        self.limit: float = target["limit"]
        self._every: int = target["every_steps"]
        self._evaluations: int = target["evaluations"]
        self.in_a_row = int(progress.get("in_a_row", 0))
        self.shortfall = float(progress.get("shortfall", 1.0))
        self.reached_at: float | None = None

    def is_due(self, step: int) -> bool:
        """Return whether an evaluation is due after this step of the life."""
        return step % self._every == 0

    def take(self, metrics: Mapping[str, float], cost: float) -> None:
        """Record an evaluation that was due, and the cost of the training before it."""
        self.in_a_row = self.in_a_row + 1 if self.see(metrics) == 0 else 0
        if self.in_a_row >= self._evaluations and cost <= self.limit and self.reached_at is None:
            self.reached_at = cost

    def see(self, metrics: Mapping[str, float]) -> float:
        """Record an evaluation that does not count towards the row; return its shortfall."""
        found = shortfall_of(self.goals, metrics)
        self.shortfall = min(self.shortfall, found)
        return found

    def is_finite(self, metrics: Mapping[str, float]) -> bool:
        """Return whether the metrics of all goals are finite."""
        return all(math.isfinite(metrics[goal["metric"]]) for goal in self.goals)

    def fom(self) -> float:
        """Return the cost at which the target was reached, or else the limit increased by the shortfall."""
        if self.reached_at is not None:
            return self.reached_at
        return self.limit * (1 + max(LEAST_SHORTFALL, self.shortfall))
