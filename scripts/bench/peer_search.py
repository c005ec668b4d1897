"""Derive from a config what peers.py needs: the budget, a search space for other libraries, and a digest.

The libraries support real numbers, integers and unordered categories. So a choice is passed as its index in
`choices`, a bool as a choice between False and True, and for PB2, which has no log scale, a real number on a
log scale as its log10. `decoded` converts values back to hyperparameters.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.evolution.space import BoolLocus, ChoiceLocus, FloatLocus, Space
from evodevo.run.records import Job
from evodevo.run.setup import job_of
from evodevo.service.comparison import PLAIN

PEERS = ("ray_pbt", "ray_pb2", "optuna_tpe", "optuna_tpe_cosine", "optuna_halving")
COSINES = ("optuna_tpe_cosine", "optuna_halving")
"""Peers whose learning rate follows a cosine from the searched value to zero."""
AVERAGED = ("optuna_halving",)
"""Peers whose members are judged by averaged weights."""
FOLLOWS_COSINE = "learning_rate"
Coded = Mapping[str, float]
"""Locus -> its value as passed to a library."""


def as_it_was(config: RunConfig, seed: int) -> RunConfig:
    """Return the config of a peer's run: one thread, and parameters judged without averaging."""
    return config.model_copy(
        update={
            "run": config.run.model_copy(update={"seed": seed}),
            "search": config.search.model_copy(update=PLAIN),
            "cluster": config.cluster.model_copy(update={"threads_per_member": 1}),
        }
    )


def job_for(config: RunConfig, directory: Path) -> Job:
    """Return the job that the engine would give to the workers of a run of this config."""
    return job_of(config, directory)


def epochs_of(config: RunConfig) -> int:
    """Return the epochs of a line of members, from the first generation to the last.

    Raises `UsageError` if the config counts steps instead of epochs.
    """
    epochs = job_for(config, Path()).total_epochs
    if epochs is None:
        raise UsageError("search.steps_per_generation: peers count epochs, not steps; leave it out")
    return epochs


def budget_of(config: RunConfig) -> int:
    """Return the number of member-epochs of a run of this config."""
    return config.search.population * epochs_of(config)


def digest_of(config: RunConfig) -> str:
    """Return a digest of what determines a peer's results, except the seed and the location of the data."""
    decides = {
        "workload": config.workload.model_dump(mode="json"),
        "objective": config.objective.model_dump(mode="json"),
        "loci": {name: locus.model_dump(mode="json") for name, locus in config.search.loci.items()},
        "population": config.search.population,
        "epochs": epochs_of(config),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def check(config: RunConfig, peers: list[str]) -> None:
    """Raise `UsageError` if these peers cannot run the config."""
    for peer in peers:
        if peer not in PEERS:
            raise UsageError(f"--peers: unknown peer {peer!r}; available: {', '.join(PEERS)}")
    if len(set(peers)) < len(peers):
        raise UsageError(f"--peers {','.join(peers)}: names a peer twice")
    if config.workload.command is not None:
        raise UsageError("workload.command: peers train classes; give workload.use")
    if config.search.start is not None:
        raise UsageError("search.start: peers start from fresh parameters; leave it out")
    evolving = [locus for locus in config.search.loci.values() if locus.evolves]
    if not evolving:
        raise UsageError("search.loci: all are fixed, so there is nothing to search")
    if config.search.population < 2 and {"ray_pbt", "ray_pb2"} & set(peers):
        raise UsageError("search.population: should be 2 or more for Ray's PBT and PB2, not 1")
    if "ray_pb2" in peers and not any(isinstance(locus, FloatLocus) for locus in evolving):
        raise UsageError("--peers ray_pb2: searches only float loci, and the config has none")
    if (cosines := [peer for peer in peers if peer in COSINES]) and FOLLOWS_COSINE not in config.search.loci:
        raise UsageError(f"--peers {cosines[0]}: needs a locus {FOLLOWS_COSINE}, which follows the cosine")
    epochs_of(config)


def choices_of(locus: Any) -> list[Any] | None:
    """Return the values of an unordered locus; None for numbers."""
    if isinstance(locus, BoolLocus):
        return [False, True]
    return locus.choices if isinstance(locus, ChoiceLocus) else None


def bounds_of(locus: Any, logs: bool = False) -> tuple[float, float]:
    """Return the bounds of a locus as passed to a library; `logs`: as log10 if its scale is logarithmic."""
    choices = choices_of(locus)
    if choices is not None:
        return 0, len(choices) - 1
    as_log = logs and isinstance(locus, FloatLocus) and locus.scale == "log"
    return (math.log10(locus.low), math.log10(locus.high)) if as_log else (locus.low, locus.high)


def encoded(space: Space, logs: bool = False) -> dict[str, float]:
    """Return the initial values that the config has for loci that evolve."""
    found: dict[str, float] = {}
    for name, locus in space.loci.items():
        if locus.evolves and locus.contains(locus.initial):
            if choices_of(locus) is not None:
                found[name] = locus.index(locus.initial)
            elif logs and isinstance(locus, FloatLocus) and locus.scale == "log":
                found[name] = math.log10(locus.initial)  # type: ignore[arg-type]
            else:
                found[name] = locus.initial
    return found


def clipped(space: Space, coded: Coded, logs: bool = False) -> dict[str, float]:
    """Return the values clipped to their bounds."""
    found = {}
    for name, value in coded.items():
        low, high = bounds_of(space.loci[name], logs)
        found[name] = min(max(value, low), high)
    return found


def decoded(space: Space, coded: Coded, logs: bool = False) -> dict[str, Any]:
    """Return the hyperparameters for a library's values, clipped to their bounds."""
    genome: dict[str, Any] = {}
    for name, locus in space.loci.items():
        if not locus.evolves:
            genome[name] = locus.value
            continue
        value, choices = coded[name], choices_of(locus)
        if choices is not None:
            genome[name] = choices[int(value)]
        elif isinstance(locus, FloatLocus):
            number = 10.0**value if logs and locus.scale == "log" else float(value)
            genome[name] = min(max(number, locus.low), locus.high)
        else:
            genome[name] = min(max(int(value), locus.low), locus.high)
    return space.express(genome)
