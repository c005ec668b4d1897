"""What peers.py makes of a config: the budget, a search space that any library takes, and a digest.

Libraries know real numbers, whole numbers and names without an order. So a choice goes to them as its number
in `choices`, a bool as the choice between False and True, and for one that knows no logarithms (PB2) a real
number on a log scale as its log10. `decoded` gives the hyperparameters back.
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
"""Peers of which each trial's learning rate follows a cosine from the value that is searched to zero."""
AVERAGED = ("optuna_halving",)
"""Peers whose members are judged by averaged weights."""
FOLLOWS_COSINE = "learning_rate"
Coded = Mapping[str, float]
"""Locus -> its value as a library has it."""


def as_it_was(config: RunConfig, seed: int) -> RunConfig:
    """The config of a peer's run: parameters are judged as they are, in one thread."""
    return config.model_copy(
        update={
            "run": config.run.model_copy(update={"seed": seed}),
            "search": config.search.model_copy(update=PLAIN),
            "cluster": config.cluster.model_copy(update={"threads_per_member": 1}),
        }
    )


def job_for(config: RunConfig, directory: Path) -> Job:
    """What the engine's workers would be told of a run of this config."""
    return job_of(config, directory)


def epochs_of(config: RunConfig) -> int:
    """Epochs of a line of members from the first generation to the last. Raises `UsageError`."""
    epochs = job_for(config, Path()).total_epochs
    if epochs is None:
        raise UsageError("search.steps_per_generation: peers are held to a number of epochs; leave it out")
    return epochs


def budget_of(config: RunConfig) -> int:
    """Member-epochs of a run of this config."""
    return config.search.population * epochs_of(config)


def digest_of(config: RunConfig) -> str:
    """Of what decides a peer's results, beside its seed; where the data are is not among it."""
    decides = {
        "workload": config.workload.model_dump(mode="json"),
        "objective": config.objective.model_dump(mode="json"),
        "loci": {name: locus.model_dump(mode="json") for name, locus in config.search.loci.items()},
        "population": config.search.population,
        "epochs": epochs_of(config),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def check(config: RunConfig, peers: list[str]) -> None:
    """Raises `UsageError` for what these peers cannot run."""
    for peer in peers:
        if peer not in PEERS:
            raise UsageError(f"--peers: no peer {peer!r}; there are {', '.join(PEERS)}")
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
        raise UsageError("search.population: is 1, and Ray's PBT and PB2 need 2 or more")
    if "ray_pb2" in peers and not any(isinstance(locus, FloatLocus) for locus in evolving):
        raise UsageError("--peers ray_pb2: it searches real numbers only, and no locus is a float")
    if (cosines := [peer for peer in peers if peer in COSINES]) and FOLLOWS_COSINE not in config.search.loci:
        raise UsageError(
            f"--peers {cosines[0]}: the config has no locus {FOLLOWS_COSINE}, which follows the cosine"
        )
    epochs_of(config)


def choices_of(locus: Any) -> list[Any] | None:
    """The values of a locus whose values have no order; None for numbers."""
    if isinstance(locus, BoolLocus):
        return [False, True]
    return locus.choices if isinstance(locus, ChoiceLocus) else None


def bounds_of(locus: Any, logs: bool = False) -> tuple[float, float]:
    """The bounds of a locus as a library has it; `logs`: log10 where the scale is logarithmic."""
    choices = choices_of(locus)
    if choices is not None:
        return 0, len(choices) - 1
    as_log = logs and isinstance(locus, FloatLocus) and locus.scale == "log"
    return (math.log10(locus.low), math.log10(locus.high)) if as_log else (locus.low, locus.high)


def encoded(space: Space, logs: bool = False) -> dict[str, float]:
    """The initial values of the loci that evolve, as far as the config gives them."""
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
    """The same values, each within its bounds."""
    found = {}
    for name, value in coded.items():
        low, high = bounds_of(space.loci[name], logs)
        found[name] = min(max(value, low), high)
    return found


def decoded(space: Space, coded: Coded, logs: bool = False) -> dict[str, Any]:
    """The hyperparameters that a library's values stand for, within their bounds."""
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
