"""Statistics of a comparison: the results of each arm and seed, and differences with their intervals.

Every arm has the same seeds, so differences are taken per seed (paired) before averaging.
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
FEWEST_SEEDS = 3
"""With fewer seeds, a bootstrap interval says nothing."""

Histories = Mapping[str, Mapping[int, History]]
"""Arm -> seed -> the history of a finished run."""


@dataclass(frozen=True)
class Difference:
    """Improvement of one arm over another as a fraction of the other's mean; negative is worse.

    `low` and `high` bound the interval; they are NaN with fewer than `FEWEST_SEEDS` seeds, and if the other
    arm is zero.
    """

    relative: float
    low: float
    high: float
    seeds: int
    finite: bool = True
    """Whether all values of both arms are finite."""

    @property
    def separated(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    def brief(self) -> str:
        """Return the text for a cell of a matrix, in parentheses unless the interval excludes zero."""
        if not np.isfinite(self.relative):
            return "-"
        if np.isnan(self.low):
            return f"({100 * self.relative:+.1f} %)"
        said = f"{100 * self.relative:+.1f} % [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        return said if self.separated else f"({said})"

    def text(self) -> str:
        """Return the difference in percent with its interval, or the reason it cannot be computed."""
        if not self.finite:
            return "undefined: a value is not finite"
        if not np.isfinite(self.relative):
            return "undefined: the reference is zero"
        if np.isnan(self.low):
            few = "a single seed" if self.seeds == 1 else f"fewer than {FEWEST_SEEDS} seeds"
            why = few if self.seeds < FEWEST_SEEDS else "the reference is zero on some seeds"
            return f"{100 * self.relative:+.1f} % (no interval: {why})"
        interval = f"[{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        verdict = "" if self.separated else ", not significant"
        return f"{100 * self.relative:+.1f} % {interval}{verdict}"


@dataclass(frozen=True)
class Product:
    """The result of a run: its best single member, or its soup if that is better on the validation split."""

    kind: Literal["member", "soup"]
    metrics: Mapping[str, float]
    """Metrics on the validation and the test split."""
    soup_made: bool
    """Whether the run made a soup."""


@dataclass(frozen=True)
class ArmResult:
    """The results of an arm on each seed, and their cost."""

    arm: str
    products: Sequence[Product]
    """One per seed."""
    member_epochs: int
    seconds: float
    """Worker seconds over all seeds."""
    ploidy: int = 1
    """Networks per member."""

    @property
    def metrics(self) -> Mapping[str, Sequence[float]]:
        """The metrics that the products of all seeds have, with one value per seed."""
        each = [product.metrics for product in self.products]
        return {name: [one[name] for one in each] for name in each[0] if all(name in one for one in each)}

    @property
    def soups(self) -> str:
        """The number of seeds in which the soup was chosen, as text; empty if no run made one."""
        if not any(product.soup_made for product in self.products):
            return ""
        chosen = sum(product.kind == "soup" for product in self.products)
        return f"{chosen} of {len(self.products)} seeds"


def results_of(histories: Histories) -> list[ArmResult]:
    """Return the result of each arm."""
    return [_result(arm, list(by_seed.values())) for arm, by_seed in histories.items()]


def product_of(history: History) -> Product:
    """Return the product of a run, chosen by its validation fom, never by the test split.

    A soup is chosen only if it is better and made of several members.
    """
    if (soup := history.better_soup) is not None:
        return Product("soup", {**soup.metrics, **soup.test}, soup_made=True)
    best = history.best
    metrics = best.outcome.metrics if best and best.outcome else {}
    return Product("member", {**metrics, **history.test}, soup_made=history.soup is not None)


def paired_difference(values: Sequence[float], reference: Sequence[float], mode: Mode) -> Difference:
    """Return the relative improvement of `values` over `reference` (same seeds, same order).

    Its interval is a 95 % percentile bootstrap over pairs (Efron and Tibshirani 1993, chapter 13) with a
    fixed seed. It cannot be wider than the range of the differences; with three pairs it is that range.
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
    if len(ours) < FEWEST_SEEDS or not np.isfinite(resampled).all():
        return Difference(float(relative), np.nan, np.nan, len(ours))
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Difference(float(relative), float(low), float(high), len(ours))


def mean_and_deviation(values: Sequence[float]) -> str:
    """Return the mean and the sample standard deviation (n - 1) over seeds, as text.

    The deviation is omitted for a single seed, and if a value is not finite.
    """
    known = len(values) > 1 and bool(np.isfinite(values).all())
    deviation = f" ± {np.std(values, ddof=1):.2g}" if known else ""
    with np.errstate(invalid="ignore"):
        return f"{np.mean(values):.4g}{deviation}"


def curves(histories: Mapping[int, History]) -> np.ndarray:
    """Return the best fom of the generation that ends after 1, 2, ... epochs: float (seeds, epochs).

    NaN after other epochs, as generations of different runs may differ in length. Epochs are counted along a
    line, from its founder on.
    """
    return _rows([_curve(history) for history in histories.values()])


def curves_of_all(histories: Mapping[int, History]) -> np.ndarray:
    """Return the best fom after members were trained 1, 2, ... epochs in total: float (seeds, epochs).

    Only complete generations count; NaN before the first one. This suits runs whose lines differ in length,
    such as those of growing networks, for which the epochs of a line are not comparable.
    """
    rows = _rows([_curve_of_all(history) for history in histories.values()])
    for row in rows:
        known = np.flatnonzero(np.isfinite(row))
        for begin, end in itertools.pairwise([*known, len(row)]):
            row[begin:end] = row[begin]
    return rows


def schedules(histories: Mapping[int, History], locus: str) -> np.ndarray:
    """Return the value of a locus along the best member's line in each epoch: float (seeds, epochs).

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
    """Return the best fom of each generation, by the epochs that its members have been trained."""
    found = {}
    for lives in history.generations:
        if over := [life for life in lives if life.outcome]:
            found[max(map(history.epochs_trained, over))] = _best_of(history, over)
    return found


def _curve_of_all(history: History) -> dict[int, float]:
    """Return the best fom so far after each generation, by the epochs of all members until then."""
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
    """Return rows of values by epoch, counted from 1, as float (rows, epochs); NaN if a value is missing."""
    width = max((epoch for row in found for epoch in row), default=0)
    rows = np.full((len(found), width), np.nan)
    for row, values in zip(rows, found, strict=True):
        for epoch, value in values.items():
            row[epoch - 1] = value
    return rows
