"""Optimise any Python function: `evodevo.minimise` and `evodevo.maximise`.

import evodevo

result = evodevo.minimise(lambda x, y: (x - 1) ** 2 + y**2, {"x": (-5.0, 5.0), "y": (-5.0, 5.0)})
print(result.best.fom, result.best.values)
"""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin

from evodevo.config import RunConfig, parse
from evodevo.errors import UsageError
from evodevo.evolution.strategies import find
from evodevo.evolution.strategies.base import CommonOptions
from evodevo.report.function_plot import progress_figure, progress_plot
from evodevo.report.inline import Rows
from evodevo.report.tables import history_rows
from evodevo.run.history import History
from evodevo.run.records import SENT_FUNCTION
from evodevo.service.bare_main import without_main
from evodevo.service.client import Client, local
from evodevo.service.function_space import loci_of
from evodevo.service.given import plain
from evodevo.service.importable import import_path, label_of

WORKLOAD = "workers.workloads.function:Function"
DEFAULT_POPULATION = 10
DEFAULT_GENERATIONS = 100
STRATEGY = "tri_parent"
OPTIONS: Mapping[str, Any] = {
    "sigma": 50.0,
    "fitness": "linear",
    "survivors": 0.25,
    "mutation": "self_adaptive",
    "mutation_rate": 0.1,
    "crossover_rate": 0.5,
}
"""Default options of `tri_parent` for functions.

A child that equals a parent costs no call, so selection is sharper and mutation rarer than in training. The
values were tuned on six functions, none of which is in docs/results.md.
"""

Function = Callable[..., Any]


@dataclass(frozen=True)
class Optimum:
    """The best evaluation: the figure of merit that the function returned, and its arguments."""

    fom: float
    values: Mapping[str, Any]
    member: str


class FunctionResult:
    """The result of optimising a function, held in memory: the run's directory may be deleted.

    `best` is None if no call returned a finite number. `directory` is the run's, or None if it was temporary.
    `failures` maps each member whose call raised to the traceback.
    """

    def __init__(self, history: History, directory: Path | None) -> None:
        self._history = history
        self.directory = directory
        life, space = history.best, history.config.space()
        self.best: Optimum | None = None
        if life is not None and life.fom is not None:
            self.best = Optimum(life.fom, space.express(life.birth.genome), life.id)
        self.failures: dict[str, str] = {
            one.id: one.outcome.error for one in history.lives() if one.outcome and one.outcome.error
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per member, as in history.csv."""
        return history_rows(self._history)

    @property
    def history(self) -> Rows:
        """The rows as a table for notebooks; `.frame()` converts them to a pandas frame."""
        return Rows(self.rows())

    def plot(self, path: Path | str | None = None) -> Any:
        """Return a matplotlib figure of the foms by generation; with `path`, also write it there as PNG.

        One line shows the best so far, another the mean of each generation, in a band of one standard
        deviation on both sides. Calls that raised or returned NaN are left out.
        """
        if path is not None:
            Path(path).write_bytes(progress_plot(self._history))
        return progress_figure(self._history)

    def __repr__(self) -> str:
        found = f"fom {self.best.fom:g} at {dict(self.best.values)}" if self.best else "nothing"
        return f"<{self._history.config.run.name}: {found}>"


def minimise(
    function: Function,
    space: Mapping[str, Any],
    *,
    population: int = DEFAULT_POPULATION,
    generations: int = DEFAULT_GENERATIONS,
    strategy: str | type = STRATEGY,
    options: Mapping[str, Any] | None = None,
    demes: Mapping[str, Any] | None = None,
    initial: Mapping[str, Any] | None = None,
    seed: int = 0,
    timeout_s: float | None = None,
    max_attempts: int = 3,
    name: str | None = None,
    runs_dir: Path | str = "checkpoints",
    workers: int | None = None,
    client: Client | None = None,
) -> FunctionResult:
    """Find the arguments that minimise a function.

    function: called with keyword arguments, `function(**values)`, in worker processes, one call at a time in
        each. A function that workers cannot import (a lambda, a closure, one from a notebook or the script
        itself) is sent by Dask and never written to disk; its run cannot be resumed in another process.
    space: name -> `(low, high)`, of two ints or two floats; `(low, high, "log")` for a log scale; a list of
        choices; or a locus as in a config, `{"type": "float", "low": ..., ...}`.
    population, generations: their product is the number of members; no point is evaluated twice.
    strategy, options, demes: as in a config's `search`; a strategy may be the class itself, if it is
        importable.
    initial: name -> value at which the search starts; random if not given.
    seed: determines, with the other arguments, which points are evaluated.
    timeout_s: time limit of a call. A call that does not return within 10 s after it is stopped by restarting
        its worker; a member fails after `max_attempts` timeouts.
    name, runs_dir: the run's directory, `runs_dir/name`, is kept; without a name it is temporary.
    workers: number of worker processes, by default one per core (or GPU).
    client: use this client's cluster and runs directory (from `evodevo.local`, `connect` or `attach`).

    A call that raises counts as failed, and one that returns NaN or an infinite number as diverged. Progress
    is shown in notebooks and on terminals. Raises `UsageError`, and `RunFailed` with the first traceback if
    more than half of a generation failed.
    """
    return _optimise("min", **locals())


def maximise(
    function: Function,
    space: Mapping[str, Any],
    *,
    population: int = DEFAULT_POPULATION,
    generations: int = DEFAULT_GENERATIONS,
    strategy: str | type = STRATEGY,
    options: Mapping[str, Any] | None = None,
    demes: Mapping[str, Any] | None = None,
    initial: Mapping[str, Any] | None = None,
    seed: int = 0,
    timeout_s: float | None = None,
    max_attempts: int = 3,
    name: str | None = None,
    runs_dir: Path | str = "checkpoints",
    workers: int | None = None,
    client: Client | None = None,
) -> FunctionResult:
    """Find the arguments that maximise a function; the parameters are those of `minimise`."""
    return _optimise("max", **locals())


def config_of(
    mode: str,
    workload_options: Mapping[str, Any],
    loci: Mapping[str, Any],
    name: str,
    population: int,
    generations: int,
    strategy: str | type = STRATEGY,
    options: Mapping[str, Any] | None = None,
    demes: Mapping[str, Any] | None = None,
    seed: int = 0,
    timeout_s: float | None = None,
    max_attempts: int = 3,
) -> RunConfig:
    """Return the config of a run that optimises a function; numbers may be numpy's. Raises `UsageError`."""
    strategy = plain(strategy, "strategy")
    if not isinstance(strategy, str):
        raise UsageError(f"strategy is {strategy!r}; give its name, such as {STRATEGY!r}")
    if not isinstance(options, Mapping | None):
        raise UsageError(f'options is {options!r}; give {{"name": value, ...}}, the options of {strategy}')
    options = {**(OPTIONS if strategy == STRATEGY else {}), **(options or {})}
    with contextlib.suppress(ValueError):  # `parse` reports an unknown strategy
        has_founders = issubclass(find(strategy).Options, CommonOptions)
        if has_founders and not any("initial" in locus for locus in loci.values()):
            options.setdefault("initial", "random")
    data = plain(
        {
            "run": {"name": name, "seed": seed},
            "workload": {"use": WORKLOAD, "options": dict(workload_options)},
            "objective": {"metric": "fom", "mode": mode},
            "search": {
                "strategy": strategy,
                "population": population,
                "generations": generations,
                "inherit": "none",
                "options": options,
                "demes": demes,
            },
            "limits": {
                "epoch_timeout_s": timeout_s,
                "max_attempts": max_attempts,
                "straggler_factor": None,  # durations of calls vary, and no call is repeated
            },
        },
        "",
    )
    data["search"]["loci"] = dict(loci)
    return parse(data, "function")


def _optimise(
    mode: str,
    function: Function,
    space: Mapping[str, Any],
    initial: Mapping[str, Any] | None,
    name: str | None,
    runs_dir: Path | str,
    workers: int | None,
    client: Client | None,
    **search: Any,
) -> FunctionResult:
    if not callable(function):
        raise UsageError(f"function is {function!r}; give a callable")
    path, label = import_path(function), label_of(function)
    key = None if path else uuid.uuid4().hex[:12]
    about = {"function": path} if path else {"function": label, "sent": key}
    run = name or f"function-{uuid.uuid4().hex[:8]}"
    config = config_of(mode, about, loci_of(space, initial or {}), run, **search)
    with contextlib.ExitStack() as stack:
        is_shared = client is not None
        if client is None:
            where = runs_dir if name else stack.enter_context(_temporary())
            stack.enter_context(without_main())
            client = stack.enter_context(local(workers, where))
        if key:
            stack.enter_context(sent(client, function, key, label))
        submitted = client.submit(config)
        submitted.wait()
        if name is None and is_shared:
            shutil.rmtree(submitted.directory, ignore_errors=True)  # the scheduler may be on another machine
        return FunctionResult(submitted.view.history, submitted.directory if name else None)


@contextlib.contextmanager
def _temporary() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="evodevo-", ignore_cleanup_errors=True) as directory:
        yield directory


class SentFunction(WorkerPlugin):
    """A worker plugin that carries a function to every worker, including those that connect later."""

    def __init__(self, function: Function) -> None:
        self.function = function


@contextlib.contextmanager
def sent(client: Client, function: Function, key: str, label: str) -> Iterator[None]:
    """Make a function available to workers under a key within the block.

    Raises `UsageError` if the function cannot be sent.
    """
    name = f"{SENT_FUNCTION}{key}"
    try:
        client.dask.register_plugin(SentFunction(function), name=name)
    except OSError:
        raise
    except Exception as why:  # pickling or importing may raise anything
        reason = " ".join(f"{type(why).__name__}: {why}".split())
        raise UsageError(
            f"the function {label!r} cannot be sent to the workers: {reason}; all that it refers to must be "
            "picklable, and all that it imports must be installed there"
        ) from why
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # the cluster may have ended
            client.dask.unregister_worker_plugin(name)
