"""Compare several search strategies (arms) with equal epochs, as a set of runs on one cluster.

Each arm and seed is a separate run, so starting an interrupted comparison again resumes it.
"""

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evodevo.config import RunConfig, parse
from evodevo.config_errors import nearest
from evodevo.errors import UsageError
from evodevo.evolution.strategies import find
from evodevo.report.comparison_page import write_comparison
from evodevo.run.history import History, load_history
from evodevo.run.origin import as_begun
from evodevo.run.setup import JOURNAL
from evodevo.run.view import Status
from evodevo.service.client import Client
from evodevo.service.run_handle import Run, look_interval_s

DEFAULT_ARMS = ("original", "cosine", "random_search", "truncation_pbt", "tri_parent")
PLAIN: dict[str, Any] = {
    "judge": "raw",
    "average_half_life": None,
    "initialisation": "own",
    "recombine": None,
    "soup": False,
    "demes": None,
}
"""Search settings of the baseline arms, in place of those of the config."""
AVERAGED = {"judge": "averaged"}
SYNCHRONISED = {"judge": "averaged", "initialisation": "shared", "recombine": {"last": 1.0}}
"""Local SGD (arXiv 1805.09767): all members start alike, and each epoch starts from the mean of all."""
MORE_ARMS = ("vose2019", "cosine_averaged", "cosine_synchronised")
ABLATIONS: dict[str, dict[str, Any]] = {
    "no_crossover": {"crossover_rate": 0.0},
    "tied_alpha": {"alpha": "tied"},
    "single_parent": {"crossover_rate": 0.0, "alpha": "tied"},
}
"""Options that switch off features of tri_parent.

Without crossover a child's genome comes from one parent, so `no_crossover` also has a single hyperparameter
parent.
"""
PIECES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "averaging": ({"judge": "raw", "average_half_life": None}, {}),
    "wide_founders": ({}, {"initial_spread": 0.15}),
    "recombination": ({"recombine": None}, {}),
    "soup": ({"soup": False}, {}),
}
"""Additions of tri_parent to the paper, each with the `search` keys and options that disable it.

The arms are `no_<piece>` and `only_<piece>`.
"""
COSINE_LOCUS = "learning_rate"


@dataclass(frozen=True)
class Planned:
    """One run of a comparison."""

    arm: str
    seed: int
    config: RunConfig


def plan(config: RunConfig, arms: Sequence[str], seeds: int) -> list[Planned]:
    """Return the runs of a comparison, seed by seed, starting with the config's seed.

    Raises `UsageError` for an arm that is unknown or does not fit the config.
    """
    if config.phases:
        raise UsageError(
            "phases: arms must have equal epochs, and phases differ; compare one phase, as a separate config"
        )
    _check_inherits("search", config.search.strategy, "compare a config with a population")
    if not config.inherits:
        raise UsageError(
            "search.inherit: none trains each member to its end, but arms must have equal epochs; compare a "
            "config whose members inherit"
        )
    if len(set(arms)) < len(arms):
        raise UsageError(f"--arms {','.join(arms)}: an arm is named twice")
    searches = {arm: _search(config, arm) for arm in arms}
    for arm, search in searches.items():
        _check_inherits(f"compare.arms.{arm}", search["strategy"], "leave this arm out")
    return [
        Planned(arm, seed, _config(config, arm, search, seed))
        for seed in range(config.run.seed, config.run.seed + seeds)
        for arm, search in searches.items()
    ]


def _check_inherits(where: str, strategy: str, remedy: str) -> None:
    try:
        inherits = find(strategy).inherits
    except ValueError:  # reported when the arm's config is checked, with its other errors
        return
    if not inherits:
        raise UsageError(
            f"{where}.strategy: {strategy} trains each member to its end, but arms must have equal epochs; "
            f"{remedy}"
        )


def directory_of(config: RunConfig, runs_dir: Path) -> Path:
    """Return the directory of a comparison's results."""
    return runs_dir / f"{config.run.name}-compare"


def carry_out(client: Client, config: RunConfig, planned: Sequence[Planned]) -> Iterator[list[Status]]:
    """Run everything to its end, a few runs at a time; yield the statuses of those begun at each poll.

    Existing runs are resumed. Whenever a run ends, the results so far are written. Raises `UsageError` if an
    existing run has another config, and `OSError` if the results cannot be written.
    """
    directory_of(config, client.runs_dir).mkdir(parents=True, exist_ok=True)  # fail now, not after hours
    known = set(client.names())
    begun: dict[str, Run] = {}
    waiting = deque(planned)
    at_once = 1 + -(-client.workers // planned[0].config.search.population)
    over, began = 0, time.monotonic()
    while True:
        while waiting and sum(not run.view.over for run in begun.values()) < at_once:
            one = waiting.popleft()
            begun[one.config.run.name] = _begin(client, one, known)
        statuses = [run.view.status() if _is_done(run) else run.status() for run in begun.values()]
        if over < (over := sum(run.view.over for run in begun.values())):
            write(config, planned, client.runs_dir)
        yield statuses
        if not waiting and all(run.view.over for run in begun.values()):
            return
        time.sleep(look_interval_s(time.monotonic() - began))


def all_done(planned: Sequence[Planned], runs_dir: Path) -> bool:
    """Return whether every run is done. Raises `UsageError` as `finished` does."""
    return sum(map(len, finished(planned, runs_dir).values())) == len(planned)


def finished(planned: Sequence[Planned], runs_dir: Path) -> dict[str, dict[int, History]]:
    """Return arm -> seed -> history for the seeds that every arm has finished; empty if there are none.

    Raises `UsageError` if an existing run has another config.
    """
    done: dict[int, dict[str, History]] = {}
    for one in planned:
        journal = runs_dir / one.config.run.name / JOURNAL
        history = load_history(journal) if journal.exists() else None
        if history:
            _check_same(one, history, runs_dir)
            if history.end == "done":
                done.setdefault(one.seed, {})[one.arm] = history
    arms = list(dict.fromkeys(one.arm for one in planned))
    seeds = [seed for seed, by_arm in done.items() if len(by_arm) == len(arms)]
    return {arm: {seed: done[seed][arm] for seed in seeds} for arm in arms} if seeds else {}


def write(config: RunConfig, planned: Sequence[Planned], runs_dir: Path) -> list[Path]:
    """Write the finished part of a comparison; return the files' paths, empty if nothing is finished."""
    histories = finished(planned, runs_dir)
    return write_comparison(directory_of(config, runs_dir), config, histories) if histories else []


def _begin(client: Client, one: Planned, known: set[str]) -> Run:
    name = one.config.run.name
    if name not in known:
        return client.submit(one.config)
    run = client.run(name)
    _check_same(one, run.view.history, client.runs_dir)
    if run.view.over and not _is_done(run):
        run.resume()
        run.status()
    return run


def _is_done(run: Run) -> bool:
    return run.view.over and run.view.history.end == "done"


def _check_same(one: Planned, found: History, runs_dir: Path) -> None:
    if sections := as_begun(one.config, found).differs_from(found.config):
        raise UsageError(
            f"{runs_dir / one.config.run.name} has another config (different: {', '.join(sections)}); "
            "remove it, or rename this comparison with --run-name"
        )


def _config(config: RunConfig, arm: str, search: Mapping[str, Any], seed: int) -> RunConfig:
    """Return the config of one run, checked as if it had been written by hand."""
    data = config.to_json()
    data["run"] = {"name": f"{config.run.name}-{arm}-s{seed}", "seed": seed}
    data["search"].update(search)
    if search.get("epochs") is not None or (search.get("phases") is not None and "generations" not in search):
        data["search"]["generations"] = None
    with contextlib.suppress(ValueError):  # `parse` reports an unknown strategy, with other errors
        if config.search.pace not in find(search["strategy"]).paces:
            data["search"]["pool"] = None
            data["search"]["pace"] = None  # arms may differ in pace, but not in epochs
    data["compare"] = {}
    return parse(data, f"arm {arm}")


def _search(config: RunConfig, arm: str) -> dict[str, Any]:
    """Return the `search` keys of an arm; founders are those of the config unless the arm sets its own."""
    own = config.search.options if config.search.strategy == "tri_parent" else {}
    founders: dict[str, Any] = {key: own[key] for key in ("initial", "initial_spread") if key in own}
    if arm in config.compare.arms:
        given = config.compare.arms[arm]
        return _apart(config, given.strategy, given.options, given.search)
    match arm:
        case _ if config.search.phases and arm == config.search.strategy:
            return {"strategy": arm, "options": config.search.options}
        case "tri_parent" if config.search.strategy != "tri_parent":
            return _apart(config, "tri_parent", {}, find("tri_parent").default_search)
        case "tri_parent":
            return {"strategy": "tri_parent", "options": own}
        case "vose2019":
            return _apart(config, "vose2019", {})
        case "truncation_pbt":
            return _apart(config, "truncation_pbt", founders)
        case "random_search":
            return _apart(config, "random_search", {"initial": "random"})
        case "original":
            return _apart(config, "scheduled", {})
        case "cosine":
            return _apart(config, "scheduled", _cosine(config, arm))
        case "cosine_averaged":
            return _apart(config, "scheduled", _cosine(config, arm), AVERAGED)
        case "cosine_synchronised":
            return _apart(config, "scheduled", _cosine(config, arm), SYNCHRONISED)
        case "no_demes" if config.search.demes:
            return {"strategy": config.search.strategy, "demes": None}
        case _ if arm in ABLATIONS:
            return {"strategy": "tri_parent", "options": {**own, **ABLATIONS[arm]}}
        case _ if arm.startswith("no_") and arm.removeprefix("no_") in PIECES:
            search, options = PIECES[arm.removeprefix("no_")]
            return {"strategy": "tri_parent", **search, "options": {**own, **options}}
        case _ if arm.startswith("only_") and arm.removeprefix("only_") in PIECES:
            return {"strategy": "tri_parent", **_only(own, arm.removeprefix("only_"))}
    known = list(
        dict.fromkeys(
            [
                *DEFAULT_ARMS,
                *MORE_ARMS,
                *ABLATIONS,
                *(f"no_{name}" for name in PIECES),
                *(f"only_{name}" for name in PIECES),
                *(["no_demes"] if config.search.demes else []),
                *config.compare.arms,
            ]
        )
    )
    raise UsageError(
        f"--arms: unknown arm {arm!r}; {nearest(arm, known)} (compare.arms of the config can define more)"
    )


def _only(own: Mapping[str, Any], piece: str) -> dict[str, Any]:
    """Return the config's search with the options `own`, with all pieces disabled but one."""
    search: dict[str, Any] = {}
    options = dict(own)
    for name, (without, narrow) in PIECES.items():
        if name != piece:
            search.update(without)
            options.update(narrow)
    return {**search, "options": options}


def _cosine(config: RunConfig, arm: str) -> dict[str, Any]:
    """Return the options of a cosine schedule: those of the config's arm `cosine`, or the default ones."""
    if "cosine" in config.compare.arms:
        return config.compare.arms["cosine"].options
    if COSINE_LOCUS not in config.search.loci:
        raise UsageError(
            f"--arms {arm}: the config has no locus {COSINE_LOCUS}; "
            "add a compare.arms.cosine with the locus that follows the cosine"
        )
    return {"schedule": {COSINE_LOCUS: {"shape": "cosine"}}}


def _apart(
    config: RunConfig, strategy: str, options: Mapping[str, Any], search: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return an arm that shares loci and epochs with the config, but none of its other `search` settings.

    A schedule spans the whole run unless the options say otherwise.
    """
    length: dict[str, Any]
    if config.search.phases is not None:  # equal member-epochs (`limits.member_epochs`), not generations
        length, of_schedule = {"phases": None}, config.search.generations
    elif config.search.steps_per_generation is None:
        length = {"epochs": config.search.total_epochs, "epochs_per_generation": 1, "legs": 1}
        of_schedule = config.search.total_epochs
    else:
        length, of_schedule = {}, config.search.generations
    laid_out = {"epochs": of_schedule} if strategy == "scheduled" else {}
    return {**PLAIN, **length, **(search or {}), "strategy": strategy, "options": {**laid_out, **options}}
