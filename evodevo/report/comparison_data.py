"""The content of comparison.json: a comparison as plain data."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from evodevo.config import RunConfig
from evodevo.report.comparison import CONFIDENCE, ArmResult, Histories, paired_difference
from evodevo.run.history import History
from evodevo.run.records import in_json


def comparison_data(
    config: RunConfig, histories: Histories, results: Sequence[ArmResult], judged: Sequence[str]
) -> dict[str, Any]:
    """Return the arms with their figures for each seed, and the differences between all pairs of arms.

    `relative`, `low` and `high` of a difference are fractions of the reference's mean, positive if `arm` is
    better; null if undefined.
    """
    return {
        "name": config.run.name,
        "metric": config.objective.metric,
        "mode": config.objective.mode,
        "confidence": CONFIDENCE,
        "seeds": list(next(iter(histories.values()), ())),
        "arms": {one.arm: _arm(one, histories) for one in results},
        "differences": [
            _difference(config, one, reference, name)
            for one, reference in itertools.permutations(results, 2)
            for name in judged
        ],
    }


def _arm(result: ArmResult, histories: Histories) -> dict[str, Any]:
    own = histories[result.arm]
    search = next(iter(own.values())).config.search
    return {
        "search": search.model_dump(mode="json", exclude={"loci"}),
        "member_epochs": result.member_epochs,
        **({"network_epochs": result.ploidy * result.member_epochs} if result.ploidy > 1 else {}),
        "worker_seconds": round(result.seconds, 3),
        "runs": [
            {
                "seed": seed,
                "run": history.config.run.name,
                "product": product.kind,
                "metrics": in_json(product.metrics),
                **_candidates(history),
            }
            for (seed, history), product in zip(own.items(), result.products, strict=True)
        ],
    }


def _candidates(history: History) -> dict[str, Any]:
    """Return the figures of the best single member and of the soup; empty for a run without a soup."""
    best, soup = history.best, history.soup
    if soup is None:
        return {}
    member = best.outcome.metrics if best and best.outcome else {}
    return {
        "member": in_json({**member, **history.test}),
        "soup": in_json({**soup.metrics, **soup.test}),
        "soup_of": list(soup.of),
    }


def _difference(config: RunConfig, one: ArmResult, reference: ArmResult, name: str) -> dict[str, Any]:
    found = paired_difference(one.metrics[name], reference.metrics[name], config.objective.mode)
    return {
        "arm": one.arm,
        "reference": reference.arm,
        "metric": name,
        "relative": _known(found.relative),
        "low": _known(found.low),
        "high": _known(found.high),
        "seeds": found.seeds,
        "separated": found.separated,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
