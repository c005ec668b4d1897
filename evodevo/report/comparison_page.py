"""A comparison as files: index.html, two pictures, and results.csv with every number behind them."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from evodevo import yaml_text
from evodevo.config import RunConfig, Search
from evodevo.report import web
from evodevo.report.comparison import (
    ArmResult,
    Histories,
    mean_and_deviation,
    paired_difference,
    results_of,
)
from evodevo.report.comparison_plots import fom_picture, schedules_picture
from evodevo.report.naming import numbered
from evodevo.report.plots import drawn
from evodevo.run import files

BASELINE, SUBJECT = "original", "tri_parent"

ENOUGH = 6
"""With so many seeds, all agree by chance in less than one case of 20 (a sign test, on two sides)."""

Table = tuple[list[str], list[list[str]]]
"""Headings, and rows."""


def write_comparison(directory: Path, config: RunConfig, histories: Histories) -> list[Path]:
    """Write the comparison of runs that are done, every arm with the same seeds; returns the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    results = results_of(histories)
    pictures = {
        "fom": drawn(lambda: fom_picture(config, histories)),
        "schedules": drawn(lambda: schedules_picture(config, histories)),
    }
    seeds = list(next(iter(histories.values())))
    parts = [
        web.paragraph(how(config, seeds)),
        *(web.table(*table) for table in tables(config, results)),
        *(web.picture(name, data) for name, data in pictures.items()),
        *web.legend(numbered(config, histories)),
        web.heading("Arms"),
        web.preformatted(arms_of(histories)),
        web.heading("Config"),
        web.preformatted(config.to_yaml()),
    ]
    return files.replace_all(
        {
            directory / "results.csv": results_csv(results, seeds),
            **{directory / f"{name}.png": png for name, png in pictures.items()},
            directory / "index.html": web.page(f"{config.run.name}: comparison", *parts),
        }
    )


def how(config: RunConfig, seeds: Sequence[int]) -> str:
    """What the figures of the tables mean."""
    count, chance = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed", ""
    if 1 < len(seeds) < ENOUGH:
        chance = f" Chance alone lets {count} agree on who is better in one case of {2 ** (len(seeds) - 1)}."
    return (
        f"{count} ({', '.join(map(str, seeds))}), {config.search.population} members x "
        f"{_length(config.search)} a run. Of each run the member with the best "
        f"{config.objective.metric} is taken; the test split has no part in that. Differences are paired by "
        f"seed; in brackets their 95 % bootstrap interval.{chance}"
    )


def _length(search: Search) -> str:
    """What each member is trained in a run."""
    legs = search.generations * search.legs
    if search.steps_per_generation is not None:
        return f"{legs * search.steps_per_generation} steps"
    return f"{legs * search.epochs_per_generation} epochs"


def tables(config: RunConfig, results: Sequence[ArmResult]) -> list[Table]:
    """What every arm reached; each arm's improvement over `original`; and `tri_parent`'s over each other."""
    fom = config.objective.metric
    test = fom.replace("validation_", "test_", 1)
    arms = [one.arm for one in results]
    shown = [name for name in results[0].metrics if name == fom or name.startswith("test_")]
    reached = [
        [
            one.arm,
            *(mean_and_deviation(one.metrics[name]) if name in one.metrics else "" for name in shown),
            f"{one.member_epochs:,}",
            f"{one.seconds:,.0f}",
        ]
        for one in results
    ]
    headings = ["arm", *map(_words, shown), "member-epochs", "worker seconds"]
    found: list[Table] = [(headings, reached)]
    judged = [name for name in dict.fromkeys((fom, test)) if all(name in one.metrics for one in results)]
    if BASELINE in arms:
        pairs = [(arm, BASELINE) for arm in arms if arm != BASELINE]
        rows = [[arm, *_gains(config, results, arm, reference, judged)] for arm, reference in pairs]
        found.append(([f"improvement over {BASELINE}", *(f"in {_words(name)}" for name in judged)], rows))
    if SUBJECT in arms:
        others = [arm for arm in arms if arm not in (SUBJECT, BASELINE)]
        rows = [[arm, *_gains(config, results, SUBJECT, arm, judged)] for arm in others]
        found.append(([f"improvement of {SUBJECT} over", *(f"in {_words(name)}" for name in judged)], rows))
    return [table for table in found if table[1]]


def arms_of(histories: Histories) -> str:
    """What each arm searched with, as YAML."""
    searches = {arm: next(iter(by_seed.values())).config.search for arm, by_seed in histories.items()}
    return yaml_text.dump(
        {arm: {"strategy": one.strategy, "options": one.options} for arm, one in searches.items()}
    )


def results_csv(results: Sequence[ArmResult], seeds: Sequence[int]) -> str:
    """A row an arm and seed."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for one in results for name in one.metrics))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "seed", *names])
    for one in results:
        for at, seed in enumerate(seeds):
            writer.writerow([one.arm, seed, *(one.metrics[n][at] if n in one.metrics else "" for n in names)])
    return text.getvalue()


def _gains(
    config: RunConfig, results: Sequence[ArmResult], arm: str, reference: str, metrics: Iterable[str]
) -> list[str]:
    known = {one.arm: one.metrics for one in results}
    return [
        paired_difference(known[arm][name], known[reference][name], config.objective.mode).text()
        for name in metrics
    ]


def _words(name: str) -> str:
    return name.replace("_", " ")
