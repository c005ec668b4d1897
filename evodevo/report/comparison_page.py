"""A comparison as files: index.html, two pictures, and every number behind them.

results.csv has a row for each arm and seed; comparison.json has also all differences and their intervals.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from evodevo import yaml_text
from evodevo.config import RunConfig
from evodevo.config_search import Search
from evodevo.report import web
from evodevo.report.comparison import (
    ArmResult,
    Histories,
    mean_and_deviation,
    paired_difference,
    results_of,
)
from evodevo.report.comparison_data import comparison_data
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
        *([web.paragraph(said)] if (said := verdict(config, results)) else []),
        *_matrices_as_html(config, results),
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
            directory / "comparison.json": comparison_json(config, histories),
            **{directory / f"{name}.png": png for name, png in pictures.items()},
            directory / "index.html": web.page(f"{config.run.name}: comparison", *parts),
        }
    )


def how(config: RunConfig, seeds: Sequence[int]) -> str:
    """What the figures of the tables mean."""
    count = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    members = config.search.population
    size = f"{members} members x {_length(config.search)} a run"
    if config.search.phases is not None:
        most = config.limits.member_epochs
        size = f"runs of different lengths{f', ended after {most} member-epochs' if most else ''}"
    return (
        f"{count} ({', '.join(map(str, seeds))}), {size}. Of each run the member with the best "
        f"{config.objective.metric} is taken, or the soup if that is better by it; the test split has no "
        "part in that. Differences are paired by seed; in brackets their 95 % bootstrap interval."
        f"{_chance(len(seeds))}"
    )


def _chance(seeds: int) -> str:
    """How much chance alone does, if that is not little."""
    if not 1 < seeds < ENOUGH:
        return ""
    return f" Chance alone lets {seeds} seeds agree on who is better in one case of {2 ** (seeds - 1)}."


def _length(search: Search) -> str:
    """What each member is trained in a run."""
    if search.steps_per_generation is not None:
        return f"{search.generations * search.legs * search.steps_per_generation} steps"
    return f"{search.total_epochs} epochs"


def tables(config: RunConfig, results: Sequence[ArmResult]) -> list[Table]:
    """What every arm reached; each arm's improvement over `original`; and the subject's over each other."""
    arms = [one.arm for one in results]
    judged = judged_of(config, results)
    subject = subject_of(config, arms)
    others = [arm for arm in arms if arm != subject]
    found = [_reached(config, results)]
    if BASELINE in arms:
        pairs = [(arm, BASELINE) for arm in arms if arm != BASELINE]
        rows = [[arm, *_gains(config, results, arm, reference, judged)] for arm, reference in pairs]
        found.append(([f"improvement over {BASELINE}", *(f"in {_words(name)}" for name in judged)], rows))
    if subject is not None and others != [BASELINE]:
        rows = [[arm, *_gains(config, results, subject, arm, judged)] for arm in others]
        found.append(([f"improvement of {subject} over", *(f"in {_words(name)}" for name in judged)], rows))
    return [table for table in found if table[1]]


def _reached(config: RunConfig, results: Sequence[ArmResult]) -> Table:
    fom = config.objective.metric
    names = dict.fromkeys(name for one in results for name in one.metrics)
    shown = [name for name in names if name == fom or name.startswith("test_")]
    soups = any(one.soups for one in results)
    ensembles = any(one.ploidy > 1 for one in results)
    rows = [
        [
            one.arm,
            *(mean_and_deviation(one.metrics[name]) if name in one.metrics else "" for name in shown),
            *([one.soups] if soups else []),
            f"{one.member_epochs:,}",
            *([f"{one.ploidy * one.member_epochs:,}"] if ensembles else []),
            f"{one.seconds:,.0f}",
        ]
        for one in results
    ]
    soup = ["soup chosen in"] if soups else []
    cost = ["member-epochs", *(["network-epochs"] if ensembles else []), "worker seconds"]
    return ["arm", *map(_words, shown), *soup, *cost], rows


def matrices(config: RunConfig, results: Sequence[ArmResult]) -> list[Table]:
    """Every arm's improvement over every other one: a table for each metric that decides."""
    if len(results) < 3:  # then the other tables have it all
        return []
    return [
        (
            [f"improvement in {_words(name)} over", *(one.arm for one in results)],
            [[one.arm, *(_cell(config, one, other, name) for other in results)] for one in results],
        )
        for name in judged_of(config, results)
    ]


def _cell(config: RunConfig, one: ArmResult, reference: ArmResult, name: str) -> str:
    if one is reference:
        return ""
    return paired_difference(one.metrics[name], reference.metrics[name], config.objective.mode).brief()


def _matrices_as_html(config: RunConfig, results: Sequence[ArmResult]) -> list[str]:
    found = matrices(config, results)
    about = "A row is an arm, a column what it is held against. In parentheses: not separated from zero."
    head = [web.heading("Every arm against every other"), web.paragraph(about)] if found else []
    return [*head, *(web.table(*table) for table in found)]


def subject_of(config: RunConfig, arms: Iterable[str]) -> str | None:
    """The arm that the others are there for: `tri_parent`, else that named after the config's strategy."""
    known = list(arms)
    return next((arm for arm in (SUBJECT, config.search.strategy) if arm in known), None)


def verdict(config: RunConfig, results: Sequence[ArmResult]) -> str:
    """Say what the subject is better than, by the test split if there is one; empty without a subject."""
    chosen = subject_of(config, (one.arm for one in results))
    subject = next((one for one in results if one.arm == chosen), None)
    others = [one for one in results if one.arm != chosen]
    if subject is None or not others:
        return ""
    name = judged_of(config, results)[-1]
    if len(subject.metrics[name]) == 1:
        return "Verdict: none, as one seed cannot tell a difference from chance; --seeds 3 or more gives one."
    found: dict[str, list[str]] = {}
    for one in others:
        difference = paired_difference(subject.metrics[name], one.metrics[name], config.objective.mode)
        if difference.separated:
            found.setdefault("better than" if difference.low > 0 else "worse than", []).append(one.arm)
        else:
            found.setdefault("not separated from", []).append(one.arm)
    order = ("better than", "worse than", "not separated from")
    said = "; ".join(f"{relation} {', '.join(found[relation])}" for relation in order if relation in found)
    chance = _chance(len(subject.metrics[name]))
    return f"Verdict, by {_words(name)}: {chosen} is {said}.{chance}"


def comparison_json(config: RunConfig, histories: Histories) -> str:
    """Return the contents of comparison.json, also if no seed is complete."""
    results = results_of(histories)
    judged = judged_of(config, results) if results else []
    return json.dumps(comparison_data(config, histories, results, judged), indent=1)


def conclusion(config: RunConfig, histories: Histories) -> tuple[list[Table], str]:
    """The tables and the verdict of a comparison, the same as on its page."""
    results = results_of(histories)
    return tables(config, results), verdict(config, results)


def arms_of(histories: Histories) -> str:
    """What each arm searched with, as YAML: its strategy, and what else is not the same for all arms."""
    searches = {
        arm: next(iter(by_seed.values())).config.search.model_dump(mode="json", exclude={"loci"})
        for arm, by_seed in histories.items()
    }
    first = next(iter(searches.values()))
    told = [
        name
        for name in dict.fromkeys(("strategy", "options", *first))
        if name in ("strategy", "options") or any(one[name] != first[name] for one in searches.values())
    ]
    return yaml_text.dump({arm: {name: one[name] for name in told} for arm, one in searches.items()})


def results_csv(results: Sequence[ArmResult], seeds: Sequence[int]) -> str:
    """A row for each arm and seed."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for one in results for name in one.metrics))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "seed", "product", *names])
    for one in results:
        for at, (seed, product) in enumerate(zip(seeds, one.products, strict=True)):
            values = (one.metrics[name][at] if name in one.metrics else "" for name in names)
            writer.writerow([one.arm, seed, product.kind, *values])
    return text.getvalue()


def judged_of(config: RunConfig, results: Sequence[ArmResult]) -> list[str]:
    """The metrics that decide: the objective's, and the same of the test split if all arms have it."""
    fom = config.objective.metric
    both = dict.fromkeys((fom, fom.replace("validation_", "test_", 1)))
    return [name for name in both if all(name in one.metrics for one in results)]


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
