"""A whole run with a DataLoader's processes, a random split, a scheduler and averaged weights, disturbed."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration.clusters import (
    Held,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)

pytestmark = pytest.mark.slow
LOADED = {"workload__use": "loaded:Loaded", "search__population": 4, "search__generations": 3}


def test_workers_and_the_scheduler_that_are_killed_leave_no_trace_in_the_history(
    tmp_path: Path, processes: Processes
) -> None:
    config = write_config(tmp_path, "undisturbed", **LOADED, cluster={"workers": 1})
    done = evodevo("launch", str(config), "--runs-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert history_of(tmp_path / "undisturbed").end == "done"

    held = Held(tmp_path)
    run = tmp_path / "disturbed"
    config = write_config(tmp_path, "disturbed", **LOADED, workload__options={**held.options, "pause_s": 0.2})
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="launch"
    )
    held.until_epochs_began(2)
    held.kill()
    held.file.unlink()
    until(lambda: history_of(run).completed() >= 1, "the first generation")
    os.kill(launched.pid, signal.SIGKILL)
    launched.wait()
    assert history_of(run).end is None
    assert history_of(run).lost_attempts >= 2
    resumed = evodevo("resume", "disturbed", "--runs-dir", str(tmp_path))
    assert resumed.returncode == 0, resumed.stderr
    assert untimed_history(run) == untimed_history(tmp_path / "undisturbed")
