"""A comparison in numbers: what each arm reached on each seed, and what of it is more than chance.

Every arm has the same seeds, so differences are taken seed by seed (paired) before anything is averaged.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from evodevo.evolution.fitness import Mode
from evodevo.report.account import MEASURED, account
from evodevo.run.history import History
from evodevo.run.stopping import member_epochs

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

    def brief(self) -> str:
        """For a cell of a matrix: in parentheses unless the interval leaves zero out."""
        if not np.isfinite(self.relative):
            return "-"
        if np.isnan(self.low):
            return f"({100 * self.relative:+.1f} %)"
        said = f"{100 * self.relative:+.1f} % [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        return said if self.separated else f"({said})"

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
class Product:
    """What a run has found: its best single member, or its soup if that is better on the validation split."""

    kind: Literal["member", "soup"]
    metrics: Mapping[str, float]
    """Of the validation and the test split."""
    soup_made: bool
    """Whether there was a soup to choose."""


@dataclass(frozen=True)
class ArmResult:
    """What an arm reached on each seed, and what it cost."""

    arm: str
    products: Sequence[Product]
    """Of each seed."""
    member_epochs: int
    seconds: float
    """Of workers, over all seeds."""
    ploidy: int = 1
    """Networks of a member."""

    @property
    def metrics(self) -> Mapping[str, Sequence[float]]:
        """The metrics that the products of all seeds have: a value for each seed."""
        each = [product.metrics for product in self.products]
        return {name: [one[name] for one in each] for name in each[0] if all(name in one for one in each)}

    @property
    def soups(self) -> str:
        """In how many seeds the soup was chosen; empty if no run of the arm made one."""
        if not any(product.soup_made for product in self.products):
            return ""
        chosen = sum(product.kind == "soup" for product in self.products)
        return f"{chosen} of {len(self.products)} seeds"


def results_of(histories: Histories) -> list[ArmResult]:
    """The result of each arm, with the metrics that all its runs have."""
    return [_result(arm, list(by_seed.values())) for arm, by_seed in histories.items()]


def product_of(history: History) -> Product:
    """The product of a run, chosen by its validation fom; the test split has no part in that.

    A soup counts only if it is better and made of several members.
    """
    if (soup := history.better_soup) is not None:
        return Product("soup", {**soup.metrics, **soup.test}, soup_made=True)
    best = history.best
    metrics = best.outcome.metrics if best and best.outcome else {}
    return Product("member", {**metrics, **history.test}, soup_made=history.soup is not None)


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
    """float (seeds, epochs): the best fom of the generation that ends after 1, 2, ... epochs, else NaN.

    Generations of different runs may have different lengths. Epochs are those of a line, from its founder on.
    """
    return _rows([_curve(history) for history in histories.values()])


def curves_of_all(histories: Mapping[int, History]) -> np.ndarray:
    """float (seeds, epochs): the best fom so far once members have been trained 1, 2, ... epochs in all.

    It is that of whole generations, and NaN before the first one. Where lines of members differ in length, as
    those of networks that grow, epochs of a line say nothing.
    """
    rows = _rows([_curve_of_all(history) for history in histories.values()])
    for row in rows:
        known = np.flatnonzero(np.isfinite(row))
        for begin, end in itertools.pairwise([*known, len(row)]):
            row[begin:end] = row[begin]
    return rows


def schedules(histories: Mapping[int, History], locus: str) -> np.ndarray:
    """float (seeds, epochs): the value that the best member's parameters were trained with in each epoch.

    NaN after its last epoch.
    """
    return _rows([_schedule(history, locus) for history in histories.values() if history.best])


def _result(arm: str, histories: Sequence[History]) -> ArmResult:
    return ArmResult(
        arm,
        [product_of(history) for history in histories],
        sum(map(member_epochs, histories)),
        sum(account(history)[part] for history in histories for part in MEASURED),
        histories[0].config.search.ploidy,
    )


def _curve(history: History) -> dict[int, float]:
    """The best fom of each generation, by the epochs that its members have been trained."""
    found = {}
    for lives in history.generations:
        if over := [life for life in lives if life.outcome]:
            found[max(map(history.epochs_trained, over))] = _best_of(history, over)
    return found


def _curve_of_all(history: History) -> dict[int, float]:
    """The best fom so far after each generation, by the epochs that members have been trained by then."""
    found: dict[int, float] = {}
    spent, best = 0, float("nan")
    sign = 1.0 if history.config.objective.mode == "max" else -1.0
    for lives in history.generations:
        trained = [life for life in lives if life.outcome and life.same_as is None]
        spent += sum(
            history.config.search.leg_epochs(life.generation) * (len(life.legs) + 1) for life in trained
        )
        best = sign * np.fmax(sign * best, sign * _best_of(history, lives))
        found[spent] = float(best)
    return found


def _schedule(history: History, locus: str) -> dict[int, float]:
    assert history.best
    return {
        epoch: _number(life.birth.genome.get(locus))
        for life in history.line(history.best)
        for epoch in range(life.epoch + 1, history.epochs_trained(life) + 1)
    }


def _best_of(history: History, lives: Sequence[Any]) -> float:
    foms = [life.fom for life in lives if life.fom is not None]
    best = min if history.config.objective.mode == "min" else max
    return best(foms) if foms else float("nan")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _rows(found: Sequence[Mapping[int, float]]) -> np.ndarray:
    """float (rows, epochs) of values by epoch, counted from 1; NaN where a row has none."""
    width = max((epoch for row in found for epoch in row), default=0)
    rows = np.full((len(found), width), np.nan)
    for row, values in zip(rows, found, strict=True):
        for epoch, value in values.items():
            row[epoch - 1] = value
    return rows
