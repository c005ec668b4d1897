"""TensorBoard: curves of each slot, of the population and of the best line, and a histogram of the foms.

    tensorboard --logdir checkpoints/RUN/tensorboard

Event files are written directly, because TensorBoard's own writer keeps a thread and an open file per
directory, and a run has one directory per slot. After a restart all files are rewritten from the journal.
Each begins with TensorBoard's mark for a restart (a session start at step 0), so that a running TensorBoard
drops what it read from the file before.
"""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.trackers.base import BySlot, Complete, Facts, Tracker, about

SUFFIX = ".evodevo"
"""Suffix of this tracker's files, which it may delete."""
BINS = 30
POPULATION, BEST_LINE, MEMBERS = "population", "best_line", "members"


class TensorBoard(Tracker):
    """A tracker for TensorBoard; steps are generations, but for `epochs/...` and `losses/...` of training."""

    module = "tensorboard"
    package = "tensorboard"

    class Options(Tracker.Options):
        directory: str | None = None
        """Parent of a directory with the run's name for the files; by default `tensorboard` in the run's."""
        members: int = 200
        """If members train from scratch: how many of them appear on the page of hyperparameters."""

    options: Options

    def __init__(self, directory: Path, options: Options) -> None:
        super().__init__(directory, options)
        self._top = self._top_of(directory, options)
        _clear(self._top)
        self._files: dict[str, _EventFile] = {}
        self._by_slot, self._complete = BySlot(), Complete()
        self._members = 0
        self._best: str | None = None
        self._has_ended = False

    @staticmethod
    def _top_of(directory: Path, options: Options) -> Path:
        top = options.directory
        return directory / "tensorboard" if top is None else Path(top) / directory.name

    @classmethod
    def where(cls, directory: Path, options: Options) -> str:
        return f"tensorboard --logdir {cls._top_of(directory, options)}"

    def update(self, history: History) -> None:
        facts = Facts(history)
        if POPULATION not in self._files:
            started_at = history.births[0].born_at if history.births else history.last_at
            self._of(POPULATION).text("run", _table(about(history)), 0, started_at)
        for life in self._by_slot.take(history):
            file = self._of(f"slot{life.slot:03d}")
            file.scalars(facts.numbers(life), life.generation, facts.at(life))
            for step, losses in facts.losses(life, self._by_slot.steps_before(life)):
                file.scalars(losses, step, facts.at(life))
            if not history.inherits and self._members < self.options.members:
                self._tell_member(facts, life)
                self._members += 1
        for summary in self._complete.take(facts):
            self._of(POPULATION).scalars(summary.numbers(), summary.generation, summary.at)
            if len(summary.foms) > 1:
                self._of(POPULATION).histogram("foms", summary.foms, summary.generation, summary.at)
        if history.best and history.best.id != self._best:
            self._tell_best_line(facts)
            self._best = history.best.id
        if history.end and not self._has_ended:
            self._tell_end(facts)
        self._has_ended = history.end is not None
        for file in self._files.values():
            file.flush()

    def _tell_member(self, facts: Facts, life: Life) -> None:
        """Write a member as a trial for TensorBoard's page of hyperparameters."""
        file = self._of(f"{MEMBERS}/{life.id}")
        file.trial(facts.hyperparameters(life), life.born_at, facts.at(life), life.fom is not None)
        if life.fom is not None:
            file.scalars({"fom": life.fom}, life.generation, facts.at(life))
        _tell_training(file, facts, life)

    def _tell_best_line(self, facts: Facts) -> None:
        """Write the best member's line in place of the previous one."""
        _clear(self._top / BEST_LINE)
        file = self._files[BEST_LINE] = _EventFile(self._top / BEST_LINE)
        for life in facts.best_line():
            file.scalars(facts.numbers(life), life.generation, facts.at(life))
            _tell_training(file, facts, life)

    def _tell_end(self, facts: Facts) -> None:
        history = facts.history
        file, last, at = self._of(POPULATION), len(history.generations) - 1, history.last_at
        file.scalars({f"test/{name}": value for name, value in history.test.items()}, last, at)
        if not history.in_generations:
            foms = [life.fom for life in history.births if life.fom is not None]
            file.histogram("foms", foms, last, at)

    def _of(self, name: str) -> "_EventFile":
        if name not in self._files:
            self._files[name] = _EventFile(self._top / name)
        return self._files[name]


class _EventFile:
    """The event file of a directory, written on flush; newer files have names that sort later."""

    def __init__(self, directory: Path) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        self._proto: Any = event_pb2
        self._summary: Any = summary_pb2
        now, mark = time.time_ns(), self._proto.SessionLog(status=self._proto.SessionLog.START)
        self._path = directory / f"events.out.tfevents.{now:019d}{SUFFIX}"
        self._events: list[Any] = [
            self._proto.Event(wall_time=now / 1e9, file_version="brain.Event:2"),
            self._proto.Event(wall_time=now / 1e9, step=0, session_log=mark),
        ]

    def scalars(self, values: Mapping[str, float], step: int, at: float) -> None:
        """Add a point to each curve."""
        value_of = self._summary.Summary.Value
        self._add([value_of(tag=tag, simple_value=value) for tag, value in values.items()], step, at)

    def histogram(self, tag: str, values: Iterable[float], step: int, at: float) -> None:
        """Add a histogram of finite numbers."""
        numbers = np.array(list(values), dtype=float)
        if not len(numbers):
            return
        counts, edges = np.histogram(numbers, bins=BINS)
        histogram = self._summary.HistogramProto(
            min=numbers.min(),
            max=numbers.max(),
            num=len(numbers),
            sum=numbers.sum(),
            sum_squares=numbers.dot(numbers),
            bucket_limit=edges[1:],
            bucket=counts,
        )
        self._add([self._summary.Summary.Value(tag=tag, histo=histogram)], step, at)

    def text(self, tag: str, markdown: str, step: int, at: float) -> None:
        """Add a text."""
        from tensorboard.compat.proto import tensor_pb2, tensor_shape_pb2, types_pb2
        from tensorboard.plugins.text import metadata

        shape = tensor_shape_pb2.TensorShapeProto()
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=[markdown.encode(errors="replace")]
        )
        about_it = metadata.create_summary_metadata(tag, "")
        self._add([self._summary.Summary.Value(tag=tag, tensor=tensor, metadata=about_it)], step, at)

    def trial(self, hyperparameters: Mapping[str, Any], begun: float, ended: float, success: bool) -> None:
        """Add the hyperparameters that belong to all points of this directory."""
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2

        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in hyperparameters.items()
        }
        status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
        start = summary_v2.hparams_pb(plain, trial_id=self._path.parent.name, start_time_secs=begun)
        self._add(list(start.value), 0, begun)
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
        about_it = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
        tag, nothing = metadata.SESSION_END_INFO_TAG, metadata.NULL_TENSOR
        self._add([self._summary.Summary.Value(tag=tag, metadata=about_it, tensor=nothing)], 0, ended)

    def flush(self) -> None:
        """Append the added events to the file, which is open only briefly because of limits on open files."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        if not self._events:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "ab") as file:
            writer = RecordWriter(file)
            for event in self._events:
                writer.write(event.SerializeToString())
        self._events.clear()

    def _add(self, values: list[Any], step: int, at: float) -> None:
        if values:
            summary = self._summary.Summary(value=values)
            self._events.append(self._proto.Event(wall_time=at, step=step, summary=summary))


def _tell_training(file: _EventFile, facts: Facts, life: Life) -> None:
    """Write what a member reported of its epochs, and from within them."""
    for epoch, metrics in facts.epochs(life):
        file.scalars(metrics, epoch, facts.at(life))
    for step, losses in facts.losses(life):
        file.scalars(losses, step, facts.at(life))


def _clear(directory: Path) -> None:
    """Truncate the event files below a directory, and delete those that are empty already.

    A TensorBoard that is reading a file moves on to the next one only if the file still exists.
    """
    for path in directory.rglob(f"events.out.tfevents.*{SUFFIX}"):
        if path.stat().st_size:
            os.truncate(path, 0)
        else:
            path.unlink()


def _table(values: Mapping[str, Any]) -> str:
    """Return a table in markdown."""
    rows = [f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in values.items()]
    return "\n".join(["| | |", "| --- | --- |", *rows])
