"""What the tests of the workers share, here too."""

import contextlib
import json
import os
import subprocess
import sys

import pytest

from tests.workers.conftest import REPOSITORY, nothing_left_behind

__all__ = ["nothing_left_behind"]

with contextlib.suppress(ImportError):  # used by torch's compiler if installed; it starts a thread
    import tqdm

    tqdm.tqdm.monitor_interval = 0


@pytest.fixture(scope="session")
def zoo_elsewhere() -> dict[str, list[str]]:
    """Return the digests of the zoo's checkpoints, computed in another process with another hash seed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.zoo.contract"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "12345"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found
