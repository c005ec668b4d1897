"""The cost to reach a target, as it is known in the course of a life of several legs. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

LEAST_SHORTFALL = 0.001
"""Of a life that has reached its goals, but not in as many evaluations in a row as it should have."""

Goals = Sequence[Mapping[str, Any]]
"""Of each `metric`, and `at_least` or `at_most`."""


def gap(goal: Mapping[str, Any], value: float) -> float:
    """Return how far a value is from a goal, in [0, 1]: |value - bound| / max(|value|, |bound|).

    It is 0 for a value that reaches it, and 1 for one that is not finite. It means the same for a bound from
    below and from above.
    """
    bound: float = goal["at_least"] if "at_least" in goal else goal["at_most"]
    if not math.isfinite(value):
        return 1.0
    if value >= bound if "at_least" in goal else value <= bound:
        return 0.0
    return min(1.0, abs(value - bound) / max(abs(value), abs(bound)))


def shortfall_of(goals: Goals, metrics: Mapping[str, float]) -> float:
    """Return the mean gap of an evaluation; it is 0 if and only if all goals are reached.

    Raises `KeyError` if a metric of the goals is not there.
    """
    for goal in goals:
        if goal["metric"] not in metrics:
            raise KeyError(
                f"the workload reports {', '.join(metrics)}, and not {goal['metric']!r} of objective.target"
            )
    return sum(gap(goal, metrics[goal["metric"]]) for goal in goals) / len(goals)


class Standing:
    """How far a life has come towards its target, which is as `Job.target` has it.

    `in_a_row`: the last evaluations that reached it. `shortfall`: of the closest evaluation, 1 without any.
    `reached_at`: the cost at the evaluation that completed the row; None if that has not been, or if it was
    above the limit.
    """

    def __init__(self, target: Mapping[str, Any], progress: Mapping[str, float]) -> None:
        """`progress` is that of the leg before; see `Outcome`."""
        self.goals: Goals = target["goals"]
        self.limit: float = target["limit"]
        self._every: int = target["every_steps"]
        self._evaluations: int = target["evaluations"]
        self.in_a_row = int(progress.get("in_a_row", 0))
        self.shortfall = float(progress.get("shortfall", 1.0))
        self.reached_at: float | None = None

    def is_due(self, step: int) -> bool:
        """Whether there is an evaluation after this step of the life."""
        return step % self._every == 0

    def take(self, metrics: Mapping[str, float], cost: float) -> None:
        """Hear of an evaluation that was due, after a training of this cost."""
        self.in_a_row = self.in_a_row + 1 if self.see(metrics) == 0 else 0
        if self.in_a_row >= self._evaluations and cost <= self.limit and self.reached_at is None:
            self.reached_at = cost

    def see(self, metrics: Mapping[str, float]) -> float:
        """Hear of an evaluation that does not count in a row; return its shortfall."""
        found = shortfall_of(self.goals, metrics)
        self.shortfall = min(self.shortfall, found)
        return found

    def is_finite(self, metrics: Mapping[str, float]) -> bool:
        """Whether the metrics of all goals are finite."""
        return all(math.isfinite(metrics[goal["metric"]]) for goal in self.goals)

    def fom(self) -> float:
        """Return the cost at which the target was reached, or else the limit and more by what is lacking."""
        if self.reached_at is not None:
            return self.reached_at
        return self.limit * (1 + max(LEAST_SHORTFALL, self.shortfall))
