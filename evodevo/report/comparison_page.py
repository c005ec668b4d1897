"""Write a comparison to files: index.html, two pictures, and their numbers.

results.csv has one row per arm and seed; comparison.json adds all differences and their intervals.
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
    FEWEST_SEEDS,
    ArmResult,
    Histories,
    mean_and_deviation,
    paired_difference,
    results_of,
)
from evodevo.report.comparison_data import comparison_data
from evodevo.report.comparison_plots import fom_picture, schedules_picture
from evodevo.report.naming import numbered, words
from evodevo.report.plots import drawn
from evodevo.report.tables import in_csv
from evodevo.run import files

BASELINE, SUBJECT = "original", "tri_parent"

ENOUGH = 6
"""Number of seeds that agree by chance in less than one case in 20 (two-sided sign test)."""

Table = tuple[list[str], list[list[str]]]
"""Headings and rows."""


def write_comparison(directory: Path, config: RunConfig, histories: Histories) -> list[Path]:
    """Write the comparison of finished runs, every arm with the same seeds; return the files' paths."""
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
    """Return a paragraph that explains the figures in the tables."""
    count = f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    members = config.search.population
    size = f"{members} members x {_length(config.search)} per run"
    if config.search.phases is not None:
        most = config.limits.member_epochs
        size = f"runs of different lengths{f', ended after {most} member-epochs' if most else ''}"
    return (
        f"{count} ({', '.join(map(str, seeds))}), {size}. Each run is represented by the member "
        f"with the best {config.objective.metric}, or by the soup if that is better; the test split is never "
        f"used for this choice. Differences are paired by seed{_intervals(len(seeds))}.{_chance(len(seeds))}"
    )


def _intervals(seeds: int) -> str:
    return ", with 95 % bootstrap intervals in brackets" if seeds >= FEWEST_SEEDS else ""


def _chance(seeds: int) -> str:
    """Return a sentence on agreement by chance; empty with `ENOUGH` seeds, or with one."""
    if not 1 < seeds < ENOUGH:
        return ""
    who = "both" if seeds == 2 else "all"
    cases = {2: "two", 3: "four", 4: "eight", 5: "sixteen"}[seeds]
    return f" With {seeds} seeds, {who} favour the same arm by chance in one case of {cases}: use more seeds."


def _length(search: Search) -> str:
    """Return how long a line of members is trained in a run, as text."""
    if search.steps_per_generation is not None:
        return f"{search.generations * search.legs * search.steps_per_generation} steps"
    return f"{search.total_epochs} epochs"


def tables(config: RunConfig, results: Sequence[ArmResult]) -> list[Table]:
    """Return the tables of results, of improvements over `original`, and of the subject's over others."""
    arms = [one.arm for one in results]
    judged = judged_of(config, results)
    subject = subject_of(config, arms)
    others = [arm for arm in arms if arm != subject]
    found = [_reached(config, results)]
    if BASELINE in arms:
        pairs = [(arm, BASELINE) for arm in arms if arm != BASELINE]
        rows = [[arm, *_gains(config, results, arm, reference, judged)] for arm, reference in pairs]
        found.append(([f"improvement over {BASELINE}", *(f"in {words(name)}" for name in judged)], rows))
    if subject is not None and others != [BASELINE]:
        rows = [[arm, *_gains(config, results, subject, arm, judged)] for arm in others]
        found.append(([f"improvement of {subject} over", *(f"in {words(name)}" for name in judged)], rows))
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
    return ["arm", *map(words, shown), *soup, *cost], rows


def matrices(config: RunConfig, results: Sequence[ArmResult]) -> list[Table]:
    """Return a table of improvements between all pairs of arms for each deciding metric."""
    if len(results) < 3:  # the other tables show every pair
        return []
    return [
        (
            [f"improvement in {words(name)} over", *(one.arm for one in results)],
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
    about = "Rows are arms, columns their references. Differences in parentheses are not significant."
    head = [web.heading("All pairs of arms"), web.paragraph(about)] if found else []
    return [*head, *(web.table(*table) for table in found)]


def subject_of(config: RunConfig, arms: Iterable[str]) -> str | None:
    """Return the arm under test: `tri_parent`, or else the one named after the config's strategy."""
    known = list(arms)
    return next((arm for arm in (SUBJECT, config.search.strategy) if arm in known), None)


def verdict(config: RunConfig, results: Sequence[ArmResult]) -> str:
    """Return the verdict on the subject, by the test split if there is one; empty without a subject."""
    chosen = subject_of(config, (one.arm for one in results))
    subject = next((one for one in results if one.arm == chosen), None)
    others = [one for one in results if one.arm != chosen]
    if subject is None or not others:
        return ""
    name = judged_of(config, results)[-1]
    seeds = len(subject.metrics[name])
    if seeds == 1:
        return "Verdict: none, because one seed cannot tell a difference from chance; use --seeds 3 or more."
    if seeds < FEWEST_SEEDS:
        return f"Verdict: none.{_chance(seeds)}"
    found: dict[str, list[str]] = {}
    for one in others:
        difference = paired_difference(subject.metrics[name], one.metrics[name], config.objective.mode)
        if difference.separated:
            found.setdefault("better than" if difference.low > 0 else "worse than", []).append(one.arm)
        else:
            found.setdefault("not significantly different from", []).append(one.arm)
    order = ("better than", "worse than", "not significantly different from")
    said = "; ".join(f"{relation} {', '.join(found[relation])}" for relation in order if relation in found)
    return f"Verdict, by {words(name)}: {chosen} is {said}.{_chance(seeds)}"


def comparison_json(config: RunConfig, histories: Histories) -> str:
    """Return the contents of comparison.json, also if no seed is complete."""
    results = results_of(histories)
    judged = judged_of(config, results) if results else []
    return json.dumps(comparison_data(config, histories, results, judged), indent=1)


def conclusion(config: RunConfig, histories: Histories) -> tuple[list[Table], str]:
    """Return the tables and the verdict of a comparison, as on its page."""
    results = results_of(histories)
    return tables(config, results), verdict(config, results)


def arms_of(histories: Histories) -> str:
    """Return each arm's strategy and options as YAML, with all other settings that differ between arms."""
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
    """Return results.csv, with one row per arm and seed."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for one in results for name in one.metrics))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "seed", "product", *names])
    for one in results:
        for at, (seed, product) in enumerate(zip(seeds, one.products, strict=True)):
            values = (one.metrics[name][at] if name in one.metrics else "" for name in names)
            writer.writerow([in_csv(one.arm), seed, product.kind, *values])
    return text.getvalue()


def judged_of(config: RunConfig, results: Sequence[ArmResult]) -> list[str]:
    """Return the deciding metrics: the objective's, and its counterpart on the test split if all have it."""
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
