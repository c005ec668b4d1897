"""Check what must hold between the sections of a config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evodevo import config_cluster, config_demes, config_growth, config_objective
from evodevo.config_errors import nearest
from evodevo.config_search import Search
from evodevo.evolution.strategies import Strategy

if TYPE_CHECKING:
    from evodevo.config import RunConfig


def problems(config: RunConfig, strategy: type[Strategy]) -> list[str]:
    """Return one line per problem, beginning with its key."""
    return [
        *_averaging_problems(config, strategy),
        *_start_problems(config.search),
        *config_cluster.problems(config.cluster, config.workload.command),
        *_ending_problems(config, strategy),
        *_length_problems(config),
        *config_demes.problems(config, strategy),
        *config_growth.problems(config, strategy),
        *_ploidy_problems(config),
        *_losses_problems(config),
    ]


def _losses_problems(config: RunConfig) -> list[str]:
    """Return a line if the config records losses but its workload is a program, which reports none."""
    if not config.run.losses_per_epoch or config.workload.command is None:
        return []
    return ["run.losses_per_epoch: a program (workload.command) reports no training losses; leave it out"]


def _ploidy_problems(config: RunConfig) -> list[str]:
    """Return why members cannot be ensembles; a worker checks later whether the workload can predict."""
    found: list[str] = []
    search = config.search
    if search.genomes != "one" and search.pace == "steady":
        found.append(
            f"search.genomes: {search.genomes} is not supported with search.pace: steady; leave it out"
        )
    if search.genomes == "own" and not config.inherits:
        found.append(
            "search.genomes: own is not supported for members that train from scratch; use mean or one"
        )
    if search.ploidy == 1:
        if search.genomes != "one":
            found.append(
                f"search.genomes: {search.genomes} has no effect; leave it out, or set search.ploidy above 1"
            )
        return found
    if search.phases is not None:
        found.append(
            "search.ploidy: children inherit blocks from one network only; leave ploidy or phases out"
        )
    if config.workload.command is not None:
        found.append("search.ploidy: a program (workload.command) cannot be an ensemble; leave ploidy out")
    if config.cluster.workers_per_member > 1:
        found.append(
            "search.ploidy: one worker trains all networks of a member; leave ploidy or "
            "cluster.workers_per_member out"
        )
    if config.ends_early:
        key = "objective.target" if config.objective.target else "limits.member_time_s"
        found.append(
            f"search.ploidy: networks are trained in turn, an epoch each, and with {key} a life can end "
            "within an epoch; leave one of them out"
        )
    return found


def _length_problems(config: RunConfig) -> list[str]:
    """Return a line if lives from scratch differ in length, and so cannot be compared or share outcomes."""
    search = config.search
    lengths = sorted({search.leg_epochs(generation) for generation in range(_listed(search))})
    if config.inherits or len(lengths) <= 1:
        return []
    return [
        f"search.epochs_per_generation: members train from scratch, so lives with {lengths[0]} and "
        f"{lengths[-1]} epochs per leg cannot be compared; give one number for all generations"
    ]


def _listed(search: Search) -> int:
    """Return the number of generations that `epochs_per_generation` lists."""
    each = search.epochs_per_generation
    return min(len(each), search.generations) if isinstance(each, list) else 1


def _ending_problems(config: RunConfig, strategy: type[Strategy]) -> list[str]:
    """Return why lives cannot end, or the run cannot stop, as configured."""
    is_program, timed = config.workload.command is not None, config.limits.member_time_s is not None
    about = config.objective, config.search, config.cluster
    found = config_objective.problems(*about, is_program, config.inherits, timed)
    pace = config.search.pace or strategy.paces[0]
    if config.search.plateau is not None and pace == "steady":
        found.append("search.plateau: search.pace steady has no generations to compare; leave it out")
    return found


def _start_problems(search: Search) -> list[str]:
    """Return a line for each name in `search.start.fix` that is not a locus."""
    fix = search.start.fix if search.start else []
    return [
        f"search.start.fix: {name} is not a locus; {nearest(name, list(search.loci))}"
        for name in fix
        if name not in search.loci
    ]


def _averaging_problems(config: RunConfig, strategy: type[Strategy]) -> list[str]:
    """Return why parameters cannot be averaged as configured."""
    search, found = config.search, []
    if search.average_half_life is not None and search.judge != "averaged":
        found.append("search.average_half_life: has no effect; leave it out, or set search.judge to averaged")
    if search.judge == "averaged" and config.workload.command is not None:
        found.append("search.judge: parameters of a program (workload.command) cannot be averaged; use raw")
    if search.soup and config.workload.command is not None:
        found.append(
            "search.soup: parameters of a program (workload.command) cannot be averaged; leave it out"
        )
    if search.initialisation == "shared" and config.workload.command is not None:
        found.append(
            "search.initialisation: a program (workload.command) draws its own parameters; leave it out"
        )
    if search.soup and not config.inherits:
        found.append("search.soup: networks that train from scratch cannot be averaged; leave it out")
    if search.recombine is None:
        return found
    if config.workload.command is not None:
        found.append(
            "search.recombine: parameters of a program (workload.command) cannot be averaged; leave it out"
        )
    if not config.inherits:
        found.append("search.recombine: members train from scratch and inherit no mean; leave it out")
    elif strategy.keeps_to_itself and not search.begins_alike:
        found.append(
            f"search.recombine: lineages of {search.strategy} never mix, and members of different founders "
            "cannot be averaged; leave it out, set search.initialisation to shared, or choose a strategy in "
            "which children descend from the best"
        )
    if search.pace == "steady":
        found.append("search.recombine: search.pace steady has no generations to average; leave it out")
    return found
