"""Start the next phase in the scheduler when one is done, whether or not a client is connected."""

from pathlib import Path
from typing import Any

from evodevo.config import RunConfig
from evodevo.config_phases import next_of, run_names
from evodevo.errors import UsageError
from evodevo.run.history import History
from evodevo.run.setup import JOURNAL


def following(history: History, runs_dir: Path) -> dict[str, Any] | None:
    """Return the config of the phase to start after a run; None if the run is not done or none is left."""
    config = next_of(history.config) if history.end == "done" else None
    return None if config is None or (runs_dir / config["run"]["name"] / JOURNAL).exists() else config


def already_there(config: RunConfig, runs_dir: Path) -> str | None:
    """Return the name of an existing run that this one, or a phase after it, would overwrite; else None."""
    names = [config.run.name, *run_names(config)[(config.phase or 0) + 1 :]]
    return next((name for name in names if (runs_dir / name).exists()), None)


def exists_already(name: str, runs_dir: Path) -> UsageError:
    """Return the error for a new run whose name is taken."""
    return UsageError(
        f"run {name!r} already exists in {runs_dir}: resume it with `client.run({name!r}).resume()`, or "
        f'choose another name, as in `client.submit(config, {{"run.name": "{name}-2"}})`',
        f"run {name!r} already exists in {runs_dir}: resume it with `evodevo resume {name}`, or choose "
        "another name with --run-name",
    )


def is_done(name: str) -> UsageError:
    """Return the error for resuming a run that is done."""
    return UsageError(
        f"run {name!r} is done, so there is nothing to resume; `run.resume(generations=N)` extends it",
        f"run {name!r} is done, so there is nothing to resume; `evodevo resume {name} --generations N` "
        "extends it",
    )
