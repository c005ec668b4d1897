"""Measure a run's gain over the given values of its loci: its first founder against its best member."""

from dataclasses import dataclass
from typing import Any

from evodevo.evolution.fitness import Mode
from evodevo.evolution.space import same
from evodevo.run.history import History
from evodevo.run.life import Life

WORTH_A_RATIO = 1.1
"""Below this ratio of the two foms, their difference is shown instead."""


@dataclass(frozen=True)
class Gain:
    """The gain of a run. `given` is the fom of the member with the given values; None if it did not succeed.

    `fate` is that member's status. `trained` is how long its parameters and the best ones were trained, in
    `unit`.
    """

    metric: str
    mode: Mode
    given: float | None
    best: float
    fate: str = "done"
    trained: tuple[int, int] = (1, 1)
    unit: str = "epochs"

    @property
    def times(self) -> float | None:
        """The ratio by which the best is better; None if it is not, or the ratio is meaningless.

        For an accuracy it is the ratio of the errors. If the two were trained for different lengths, most of
        a ratio would be due to training.
        """
        if self.given is None or not self.is_fair:
            return None
        worse, better = (self.given, self.best) if self.mode == "min" else (self.best, self.given)
        if self._is_accuracy:
            worse, better = 1.0 - self.given, 1.0 - self.best
        return worse / better if worse > better > 0.0 else None

    @property
    def is_fair(self) -> bool:
        """Whether both were trained for the same length."""
        given_for, best_for = self.trained
        return given_for == best_for

    @property
    def _is_accuracy(self) -> bool:
        """Whether the foms are fractions of correct answers, so that 1 minus a fom is the error."""
        fractions = self.given is not None and 0.0 <= self.given <= 1.0 and 0.0 <= self.best <= 1.0
        return self.mode == "max" and "accuracy" in self.metric and fractions

    def text(self) -> str:
        """Return the gain as text; no ratio or difference if the two were trained for different lengths."""
        if self.given is None:
            return f"the member with the given values {self.fate}; the best one reached {self.best:.4g}"
        if self.given == self.best:
            return f"none: {self.given:.4g} with the given values is the best"
        if not self.is_fair:
            given_for, best_for = (f"{length:,} {self._unit(length)}" for length in self.trained)
            first = f"{self.given:.4g} (first member, after {given_for})"
            return f"{first} -> {self.best:.4g} (best member, after {best_for})"
        change = f"{self.given:.4g} -> {self.best:.4g}"
        if (times := self.times) is None or times < WORTH_A_RATIO:
            return f"{change}, {self.best - self.given:+.3g}"
        ratio = f"{times:.1f}" if times < 100 else f"{times:,.0f}"
        return f"{change}, {ratio} times {'fewer errors' if self._is_accuracy else 'better'}"

    def _unit(self, length: int) -> str:
        return self.unit.removesuffix("s") if length == 1 else self.unit


def gain_of(history: History) -> Gain | None:
    """Return the gain; None if there is no best member yet, or if no founder has the given values."""
    founder, best = _founder(history), history.best
    if founder is None or best is None or best.fom is None or founder.outcome is None:
        return None
    objective, steps = history.config.objective, history.config.search.steps_per_generation
    length = steps or 1  # a leg of a number of steps counts as an epoch
    trained = history.epochs_trained(founder) * length, history.epochs_trained(best) * length
    unit = "steps" if steps else "epochs"
    return Gain(objective.metric, objective.mode, founder.fom, best.fom, founder.status, trained, unit)


def gain_facts(history: History) -> dict[str, Any]:
    """Return the gain's facts for summary.json."""
    gain = gain_of(history)
    return {"given_fom": gain.given if gain else None, "times_better": gain.times if gain else None}


def _founder(history: History) -> Life | None:
    """Return the first founder if it has the loci's `initial` values, else None."""
    founder = history.generations[0][0] if history.generations and history.generations[0] else None
    if founder is None or founder.slot != 0:
        return None
    genome, loci = founder.birth.genome, history.config.search.loci
    is_given = all(name in genome and same(genome[name], locus.initial) for name, locus in loci.items())
    return founder if is_given else None
