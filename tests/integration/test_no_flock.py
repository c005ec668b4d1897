"""Runs on a file system that has no locks; see no_flock.sh."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.clusters import HERE, run_script, write_config

pytestmark = pytest.mark.slow


def test_without_flock_a_live_run_is_left_alone_and_a_killed_one_is_resumed(
    tmp_path: Path, unused_port: int
) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc here, to make a flock that fails")
    library = tmp_path / "no_flock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(HERE / "no_flock.c")], check=True)
    (tmp_path / "hold").touch()
    config = write_config(
        tmp_path,
        workload__use="tiny:Tiny",
        workload__options={"hold": str(tmp_path / "hold")},
        cluster__workers=1,
    )
    told = run_script("no_flock.sh", str(library), str(tmp_path), str(config), str(unused_port))
    assert "refused while it was live" in told
    print(told)
