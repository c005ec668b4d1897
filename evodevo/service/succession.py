"""Phases follow each other in the scheduler, whoever is watching: when one is done, the next one begins."""

from pathlib import Path
from typing import Any

from evodevo.config import RunConfig
from evodevo.config_phases import next_of, run_names
from evodevo.errors import UsageError
from evodevo.run.history import History
from evodevo.run.setup import JOURNAL


def following(history: History, runs_dir: Path) -> dict[str, Any] | None:
    """The config of the phase that is to begin after a run; None if it is not done, or nothing is left."""
    config = next_of(history.config) if history.end == "done" else None
    return None if config is None or (runs_dir / config["run"]["name"] / JOURNAL).exists() else config


def already_there(config: RunConfig, runs_dir: Path) -> str | None:
    """A run of this one's name, or of that of a phase that is to follow it; None if there is none."""
    names = [config.run.name, *run_names(config)[(config.phase or 0) + 1 :]]
    return next((name for name in names if (runs_dir / name).exists()), None)


def exists_already(name: str, runs_dir: Path) -> UsageError:
    """The error that a new run meets a run of its name."""
    return UsageError(
        f"run {name!r} exists already in {runs_dir}: carry it on with `client.run({name!r}).resume()`, or "
        f'choose another name, as in `client.submit(config, {{"run.name": "{name}-2"}})`',
        f"run {name!r} exists already in {runs_dir}: carry it on with `evodevo resume {name}`, or choose "
        "another name with --run-name",
    )


def is_done(name: str) -> UsageError:
    """The error that a run meets that is done and should be carried on."""
    return UsageError(
        f"run {name!r} is done; there is nothing to carry on. `run.resume(generations=N)` has it do more",
        f"run {name!r} is done; there is nothing to carry on. `evodevo resume {name} --generations N` has it "
        "do more",
    )
