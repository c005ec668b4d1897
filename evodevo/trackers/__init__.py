"""Trackers report a run's journal to TensorBoard, MLflow or Weights & Biases, with one library per file.

A tracker is named in the config's `run.trackers` or on the command line of `evodevo track`. Its library is
imported only in the tracker's process (`evodevo.trackers.follow`), so a run neither waits for it nor fails
with it.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from evodevo import installed
from evodevo.config_errors import describe, nearest

if TYPE_CHECKING:
    from evodevo.trackers.base import Tracker

TRACKERS = {
    "tensorboard": "evodevo.trackers.tensorboard:TensorBoard",
    "mlflow": "evodevo.trackers.mlflow:MLflow",
    "wandb": "evodevo.trackers.wandb:WeightsAndBiases",
}
"""Import paths of the trackers, by name; other packages offer more as entry points."""


def find(name: str) -> "type[Tracker]":
    """Return a tracker by its name, here or in another package, or by its import path `module:Class`.

    Raises `ValueError` with the known trackers, or with the reason that the import failed.
    """
    from evodevo.trackers.base import Tracker

    path = TRACKERS.get(name) or (name if ":" in name else installed.path_of(installed.TRACKERS, name))
    if path is None:
        known = [*TRACKERS, *installed.names(installed.TRACKERS)]
        raise ValueError(
            f"unknown tracker {name!r}; {nearest(name, known)}, or give an import path, module:Class"
        )
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as why:  # a user's module may raise anything while it is imported
        raise ValueError(f"cannot import {name!r} ({path}): {type(why).__name__}: {why}") from why
    if not (isinstance(found, type) and issubclass(found, Tracker)):
        raise ValueError(f"{name!r} is not a subclass of evodevo.trackers.base.Tracker")
    return found


def problems(trackers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the problems of a config's trackers and their options, one line each."""
    found = []
    for name, options in trackers.items():
        try:
            kind = find(name)
            kind.Options.model_validate(options)
        except ValidationError as why:
            found += describe(why, kind.Options, ("run", "trackers", name))
        except ValueError as why:
            found.append(f"run.trackers: {why}")
    return found


def missing(trackers: Mapping[str, Any]) -> list[str]:
    """Return the trackers whose library is missing here, with how to install it, one line each."""
    found = []
    for name in trackers:
        kind = find(name)
        if lacking := kind.lacking():
            found.append(
                f"run.trackers: {name} needs {lacking}, which is not installed where the scheduler runs: "
                f"pip install {kind.package}"
            )
    return found
