"""Networks that grow, in whole runs: the same history whatever happens, a replay, and training the best."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from tests.integration.clusters import (
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)

pytestmark = pytest.mark.slow

SEARCH: dict[str, Any] = {
    "strategy": "variable_length",
    "population": 4,
    "epochs_per_generation": 1,
    "phases": {"lengths": [1, 2], "generations": 2},
    "loci": {"learning_rate": {"type": "fixed", "value": 0.01}},
    "blocks": {
        "most": 2,
        "loci": {
            "channels_a": {"type": "choice", "choices": [4, 8]},
            "kernel_a": {"type": "choice", "choices": [1, 3]},
            "norm_a": {"type": "bool"},
            "skip": {"type": "bool"},
        },
    },
}


def config_of(directory: Path, name: str = "grown", pause_s: float = 0.0, workers: int = 1) -> Path:
    return write_config(
        directory,
        name,
        search=SEARCH,
        objective={"metric": "validation_accuracy", "mode": "max"},
        workload={"use": "growing:Growing", "options": {"pause_s": pause_s}},
        cluster={"workers": workers},
    )


def done(*arguments: str) -> str:
    finished = evodevo(*arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_run_is_the_same_with_two_workers_and_a_scheduler_that_was_killed_and_is_replayed(
    tmp_path: Path, processes: Processes
) -> None:
    done("launch", str(config_of(tmp_path)), "--runs-dir", str(tmp_path))
    expected = untimed_history(tmp_path / "grown")
    history = history_of(tmp_path / "grown")
    assert any(life.same_as for life in history.lives())
    assert not any(life.lost for life in history.lives())
    assert (tmp_path / "grown" / "exhibits" / "network.png").exists()

    config = config_of(tmp_path, "killed", pause_s=0.5, workers=2)
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="launch"
    )
    until(lambda: history_of(tmp_path / "killed").completed() >= 3, "a generation of the second phase")
    os.kill(launched.pid, signal.SIGKILL)
    launched.wait()
    done("resume", "killed", "--runs-dir", str(tmp_path))
    assert untimed_history(tmp_path / "killed") == expected

    told = done("replay", "grown", "--runs-dir", str(tmp_path))
    assert "the same as the original's, bit for bit" in told
    done("train-best", "grown", "--patience", "1", "--max-epochs", "2", "--runs-dir", str(tmp_path))
    weights = safetensors.torch.load_file(tmp_path / "grown" / "trained.safetensors")
    assert weights["carried"].item() == 0
