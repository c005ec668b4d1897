"""Define the base of the optimizers, which follow an evodevo run to its end."""

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evodevo.compat.crayai.hpo.evaluator import Evaluator
from evodevo.compat.crayai.hpo.params import Params
from evodevo.config import RunConfig, parse
from evodevo.errors import UsageError
from evodevo.evolution.fitness import is_usable
from evodevo.run.history import History
from evodevo.service.bare_main import without_main
from evodevo.service.client import Client, local, slurm

RULE = "-" * 60


class Optimizer(ABC):
    """Base of all optimizers: call `optimize(params)`, then read `best_fom` and `best_params`.

    `best_params` has values by flag. `run_directory` has the run's journal and report.
    """

    kind: str
    """Prefix of the names of runs."""

    def __init__(self, evaluator: Evaluator, seed: int, verbose: bool) -> None:
        """Prepare a search; with `seed` 0, each search has a different seed."""
        if not isinstance(evaluator, Evaluator):
            raise UsageError(f"{self.kind}: the first argument is {evaluator!r}; give an hpo.Evaluator")
        self.evaluator = evaluator
        self.seed = seed or int.from_bytes(os.urandom(4), "big") >> 1
        self.verbose = verbose or evaluator.verbose
        self.best_fom: float | None = None
        self.best_params: dict[str, Any] = {}
        self.run_directory: Path | None = None

    @abstractmethod
    def search(self, params: Params) -> dict[str, Any]:
        """Return the section `search` of the config."""

    def tell(self, history: History, params: Params) -> None:  # noqa: B027
        """Receive the history after each change; does nothing by default."""

    def config(self, params: Params, name: str) -> RunConfig:
        """Return the config of the run. Raises `UsageError`."""
        evaluator = self.evaluator
        url = {"url": evaluator.checkpoint} if evaluator.checkpoint and evaluator.trains_on else {}
        return parse(
            {
                "run": {"name": name, "seed": self.seed},
                "workload": {"command": evaluator.arguments(params)},
                "objective": {"metric": "fom", "mode": "min"},
                "search": {"loci": params.loci, **self.search(params)},
                "checkpoints": url,
                "limits": {"epoch_timeout_s": evaluator.timeout},
                "cluster": evaluator.cluster(),
            },
            f"{self.kind} optimizer",
        )

    def optimize(self, params: Params) -> None:
        """Search for the hyperparameters with the smallest figure of merit.

        Raises `UsageError`, and `RunFailed` if more than half of a generation's evaluations failed.
        """
        if not isinstance(params, Params):
            raise UsageError(f"{self.kind}: optimize takes hpo.Params, not {params!r}")
        config = self.config(params, f"{self.kind}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        with without_main(), self._client(config) as client:
            run = client.submit(config)
            self.run_directory = run.directory
            for _ in run.follow():
                self.tell(run.view.history, params)
            run.wait(progress=False)
            history = run.view.history
        life, space = history.best, config.space()
        if life is not None and life.fom is not None:
            self.best_fom = life.fom
            self.best_params = params.by_flag(space.express(life.birth.genome))
        if self.verbose:
            self._print_best(history, params)

    @contextlib.contextmanager
    def _client(self, config: RunConfig) -> Iterator[Client]:
        evaluator = self.evaluator
        if evaluator.client is not None:
            yield evaluator.client
        elif evaluator.on_slurm:
            with slurm(config, evaluator.run_path) as client:
                yield client
        else:
            with local(evaluator.workers, evaluator.run_path) as client:
                yield client

    def _print_best(self, history: History, params: Params) -> None:
        if self.best_fom is None:
            print(f"{RULE}\nNo evaluation has a figure of merit.\n{RULE}", flush=True)
            return
        gain = gain_of(history, self.best_fom)
        flags = " ".join(f"{flag}={value}" for flag, value in self.best_params.items())
        print(f"{RULE}\nBest:  fom: {self.best_fom:.6e}{gain}\n{flags}\n{RULE}", flush=True)


def gain_of(history: History, best: float) -> str:
    """Return the ratio of the initial values' fom to the best one, as ` (2.2x)`; empty if unknown."""
    first = next(history.lives(), None)
    if first is None or not is_usable(first.fom) or not best:
        return ""
    return f" ({first.fom / best:.3g}x)"
