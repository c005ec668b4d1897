"""MLflow: one run for the search, with a child run for each line of parameters.

A line is a sequence of members, from a founder on, each of which inherits the parameters of the one before.
The first child to inherit a member's parameters continues its line. Every other child starts a new line,
which repeats the members before it, so that each curve is complete. If members train from scratch, each is a
line.

Nothing is logged twice: existing runs are found by their tags, and the steps of their metrics are read before
more are added.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.trackers.base import Complete, Facts, Tracker, about

RUN_TAG = "evodevo.run_id"
LINE_TAG = "evodevo.line"
MOST_METRICS, MOST_PARAMS = 1000, 100
"""MLflow's limits per request."""
LONGEST_PARAM = 500
STATUS = {"done": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}

Point = tuple[str, float, int, float]
"""Name, value, step, and time (seconds since the epoch)."""


class MLflow(Tracker):
    """A tracker for MLflow; steps are generations, but for `epochs/...` and `losses/...` the parameters'."""

    module = "mlflow"
    package = "mlflow-skinny"

    class Options(Tracker.Options):
        uri: str | None = None
        """Server or store, such as http://host:5000, sqlite:///mlflow.db or file:///path/to/mlruns. The
        default is MLflow's own: the variable MLFLOW_TRACKING_URI, or else a database."""
        experiment: str = "evodevo"

    options: Options

    def __init__(self, directory: Path, options: Options) -> None:
        super().__init__(directory, options)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        if options.uri and (options.uri.startswith("file:") or "://" not in options.uri):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # the user has named a directory
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=options.uri)
        self._lines = Lines()
        self._complete = Complete()
        self._told = 0
        self._end: str | None = None
        self._runs: dict[str, _Run] = {}
        """Runs of lines, by the first member that belongs to no other line."""
        self._parent: _Run | None = None

    @classmethod
    def where(cls, directory: Path, options: Options) -> str:
        return f"experiment {options.experiment}{f' at {options.uri}' if options.uri else ''}"

    def update(self, history: History) -> None:
        facts = Facts(history)
        parent = self._parent or self._begin(history)
        points: list[Point] = []
        for summary in self._complete.take(facts):
            numbers = {f"population/{name}": value for name, value in summary.numbers().items()}
            points += [(name, value, summary.generation, summary.at) for name, value in numbers.items()]
        parent.add(points)
        self._lines.take(history)
        by_line: dict[str, list[Life]] = {}
        for life in history.over[self._told :]:
            by_line.setdefault(self._lines.of[life.id], []).append(life)
        for line, lives in by_line.items():
            run = self._runs.get(line) or self._begin_line(facts, line)
            first = history.by_id[line]
            if first in lives:  # also if the run exists, as it may be incomplete
                lives = [*history.line(first)[:-1], *lives]
                if not history.inherits:
                    run.set_params(facts.hyperparameters(first))
            run.add(point for life in lives for point in _points(facts, life))
        self._told = len(history.over)
        if history.end != self._end:
            self._tell_end(facts, parent)
        self._end = history.end

    def _begin(self, history: History) -> "_Run":
        """Find or create the search's run, and find the runs of its lines."""
        experiment = self._client.get_experiment_by_name(self.options.experiment)
        self._experiment = (
            experiment.experiment_id
            if experiment
            else self._client.create_experiment(self.options.experiment)
        )
        name = history.config.run.name
        found = list(self._search(f"tags.`{RUN_TAG}` = '{history.run_id}'"))
        self._runs = {
            run.data.tags[LINE_TAG]: _Run(self._client, run, False)
            for run in found
            if LINE_TAG in run.data.tags
        }
        whole = [run for run in found if LINE_TAG not in run.data.tags]
        if whole:
            self._parent = _Run(self._client, whole[0], False)
        else:
            tags = {"mlflow.runName": name, RUN_TAG: history.run_id}
            started_at = history.births[0].born_at if history.births else history.last_at
            made = self._client.create_run(self._experiment, int(started_at * 1000), tags, name)
            self._parent = _Run(self._client, made, True)
        self._parent.set_params(about(history))
        self._parent.set_tags({"evodevo.directory": str(self.directory.absolute())})
        if history.end is None:
            self._parent.set_status("RUNNING")
        return self._parent

    def _search(self, text: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], text, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def _begin_line(self, facts: Facts, line: str) -> "_Run":
        """Create the child run of a line."""
        assert self._parent is not None
        life = facts.history.by_id[line]
        tags = {
            "mlflow.runName": f"line {line}",
            "mlflow.parentRunId": self._parent.id,
            RUN_TAG: facts.history.run_id,
            LINE_TAG: line,
        }
        if alpha := facts.history.alpha(life):
            tags["evodevo.branches_from"] = alpha.id
        made = self._client.create_run(self._experiment, int(life.born_at * 1000), tags, f"line {line}")
        run = self._runs[line] = _Run(self._client, made, True)
        return run

    def _tell_end(self, facts: Facts, parent: "_Run") -> None:
        """Close all runs and tag the best line, or reopen the search's run if it has been resumed."""
        history = facts.history
        if history.end is None:
            parent.set_status("RUNNING")
            return
        status, last = STATUS[history.end], len(history.generations) - 1
        best = history.best
        if best:
            line = self._lines.of[best.id]
            parent.set_tags({"evodevo.best_member": best.id, "evodevo.best_line": self._runs[line].id})
        for name, run in self._runs.items():
            is_best = best is not None and self._lines.of[best.id] == name
            run.set_tags({"evodevo.is_best": "true" if is_best else "false"})
            run.set_status(status, history.last_at)
        parent.add((f"test/{name}", value, last, history.last_at) for name, value in history.test.items())
        parent.set_status(status, history.last_at)


class Lines:
    """The line of each member, named by the first member that belongs to no other line.

    A member's line is decided at its birth.
    """

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self._continued: set[str] = set()
        self._seen = 0

    def take(self, history: History) -> None:
        """Assign lines to the members born since the last call."""
        for life in history.births[self._seen :]:
            alpha = history.alpha(life)
            if alpha is None or alpha.id in self._continued:
                self.of[life.id] = life.id
            else:
                self.of[life.id] = self.of[alpha.id]
                self._continued.add(alpha.id)
        self._seen = len(history.births)


class _Run:
    """A run in MLflow; `is_new` if it cannot contain anything yet."""

    def __init__(self, client: Any, run: Any, is_new: bool) -> None:
        self.id: str = run.info.run_id
        self._client = client
        self._status: str = run.info.status
        self._params: dict[str, str] = dict(run.data.params)
        self._tags: dict[str, str] = dict(run.data.tags)
        self._is_new = is_new
        self._steps: dict[str, set[int]] = {}

    def add(self, points: Iterable[Point]) -> None:
        """Log the points that the run does not have yet."""
        from mlflow.entities import Metric

        metrics = []
        for name, value, step, at in points:
            if step not in (steps := self._steps_of(name)):
                steps.add(step)
                metrics.append(Metric(name, value, int(at * 1000), step))
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self.id, metrics=metrics[first : first + MOST_METRICS])

    def set_params(self, values: Mapping[str, Any]) -> None:
        """Set parameters that are not set yet; MLflow does not allow changes."""
        from mlflow.entities import Param

        texts = {_name(name): _text(value) for name, value in values.items()}
        params = [Param(name, text) for name, text in texts.items() if name not in self._params]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self.id, params=params[first : first + MOST_PARAMS])
        self._params |= texts

    def set_tags(self, tags: Mapping[str, str]) -> None:
        for name, text in tags.items():
            if self._tags.get(name) != text:
                self._client.set_tag(self.id, name, text)
                self._tags[name] = text

    def set_status(self, status: str, at: float | None = None) -> None:
        """Set the status; `at` is the time at which the run ended (seconds since the epoch)."""
        if status == self._status:
            return
        if at is None:
            self._client.update_run(self.id, status=status)
        else:
            self._client.set_terminated(self.id, status, int(at * 1000))
        self._status = status

    def _steps_of(self, name: str) -> set[int]:
        if name not in self._steps:
            known = [] if self._is_new else self._client.get_metric_history(self.id, name)
            self._steps[name] = {metric.step for metric in known}
        return self._steps[name]


def _points(facts: Facts, life: Life) -> Iterator[Point]:
    at = facts.at(life)
    for name, value in facts.numbers(life).items():
        yield _name(name), value, life.generation, at
    for epoch, metrics in facts.epochs(life):
        for name, value in metrics.items():
            yield _name(name), value, epoch, at
    for step, losses in facts.losses(life):
        for name, value in losses.items():
            yield _name(name), value, step, at


def _name(name: str) -> str:
    """Return a name with the characters that MLflow refuses replaced by underscores."""
    return "".join(sign if sign.isalnum() or sign in "_-./ " else "_" for sign in name)


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, default=str))[:LONGEST_PARAM]
