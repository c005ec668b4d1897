"""A comparison in numbers: what each arm reached on each seed, and what of it is more than chance.

Every arm has the same seeds, so differences are taken seed by seed (paired) before anything is averaged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evodevo.evolution.fitness import Mode
from evodevo.report.account import MEASURED, account
from evodevo.run.history import History

RESAMPLES = 10_000
CONFIDENCE = 0.95

Histories = Mapping[str, Mapping[int, History]]
"""Arm -> seed -> the history of a run that is done."""


@dataclass(frozen=True)
class Difference:
    """How much better one arm is than another, as parts of the other's mean; negative is worse.

    `low` and `high` bound the interval; NaN where there is none: with one seed, or where the other is zero.
    """

    relative: float
    low: float
    high: float
    seeds: int
    finite: bool = True
    """Whether all values of both are."""

    @property
    def separated(self) -> bool:
        """The interval does not hold zero."""
        return self.low > 0 or self.high < 0

    def text(self) -> str:
        """In percent, with the interval, and in words where it is none."""
        if not self.finite:
            return "no difference: a value is not finite"
        if not np.isfinite(self.relative):
            return "no relative difference: what it is held against is zero"
        if np.isnan(self.low):
            why = "one seed has" if self.seeds == 1 else "what is zero on some seeds has"
            return f"{100 * self.relative:+.1f} % ({why} no interval)"
        interval = f"[{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        verdict = "" if self.separated else ", not separated from zero"
        return f"{100 * self.relative:+.1f} % {interval}{verdict}"


@dataclass(frozen=True)
class ArmResult:
    """What an arm reached: metrics of the member chosen by validation, a value a seed, and what it cost."""

    arm: str
    metrics: Mapping[str, Sequence[float]]
    member_epochs: int
    seconds: float
    """Of workers, over all seeds."""


def results_of(histories: Histories) -> list[ArmResult]:
    """The result of each arm, with the metrics that all its runs have."""
    return [_result(arm, list(by_seed.values())) for arm, by_seed in histories.items()]


def paired_difference(values: Sequence[float], reference: Sequence[float], mode: Mode) -> Difference:
    """Relative improvement of `values` over `reference` (same seeds, same order), with its interval.

    The interval is the percentile bootstrap over pairs (Efron and Tibshirani 1993, chapter 13), with 95 %
    and a fixed seed. With n pairs it cannot be wider than the n differences: with three it is their range.
    """
    ours, theirs = np.array(values), np.array(reference)
    if not np.isfinite([*ours, *theirs]).all():
        return Difference(np.nan, np.nan, np.nan, len(ours), finite=False)
    sign = -1.0 if mode == "min" else 1.0
    picks = np.random.default_rng(0).integers(len(ours), size=(RESAMPLES, len(ours)))
    gains = sign * (ours - theirs)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = gains.mean() / abs(theirs.mean())
        resampled = gains[picks].mean(1) / abs(theirs[picks].mean(1))
    if len(ours) < 2 or not np.isfinite(resampled).all():
        return Difference(float(relative), np.nan, np.nan, len(ours))
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Difference(float(relative), float(low), float(high), len(ours))


def mean_and_deviation(values: Sequence[float]) -> str:
    """Over seeds; the deviation is the sample's (n - 1).

    The deviation is left out for a single seed and if a value is not finite.
    """
    known = len(values) > 1 and bool(np.isfinite(values).all())
    deviation = f" ± {np.std(values, ddof=1):.2g}" if known else ""
    with np.errstate(invalid="ignore"):
        return f"{np.mean(values):.4g}{deviation}"


def curves(histories: Mapping[int, History]) -> np.ndarray:
    """float (seeds, epochs): the best fom of each generation; NaN where none is finite."""
    return _padded(
        [[_best_of(history, lives) for lives in history.generations] for history in histories.values()]
    )


def schedules(histories: Mapping[int, History], locus: str) -> np.ndarray:
    """float (seeds, epochs): the value that the best member's parameters were trained with; NaN after it."""
    lines = [history.line(history.best) for history in histories.values() if history.best]
    return _padded([[_number(life.birth.genome.get(locus)) for life in line] for line in lines])


def _result(arm: str, histories: Sequence[History]) -> ArmResult:
    reached = [
        {**(history.best.outcome.metrics if history.best and history.best.outcome else {}), **history.test}
        for history in histories
    ]
    shared = [name for name in reached[0] if all(name in one for one in reached)]
    return ArmResult(
        arm,
        {name: [one[name] for one in reached] for name in shared},
        sum(history.epochs_trained(life) - life.epoch for history in histories for life in history.births),
        sum(account(history)[part] for history in histories for part in MEASURED),
    )


def _best_of(history: History, lives: Sequence[Any]) -> float:
    foms = [life.fom for life in lives if life.fom is not None]
    best = min if history.config.objective.mode == "min" else max
    return best(foms) if foms else float("nan")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _padded(rows: Sequence[Sequence[float]]) -> np.ndarray:
    width = max(map(len, rows), default=0)
    return np.array([[*row, *[np.nan] * (width - len(row))] for row in rows]).reshape(len(rows), width)
