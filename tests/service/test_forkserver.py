"""The process from which a local cluster's workers are forked, tested in a separate program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evodevo.service import forkserver

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = """
import multiprocessing, os, sys
from evodevo.service import forkserver

def look(answer):
    threads = len(os.listdir(f"/proc/{os.getppid()}/task"))
    loaded = [name for name in ("torch", "workers.preload", "pandas", "torch._dynamo") if name in sys.modules]
    cuda = sys.modules["torch"].cuda.is_initialized()
    print(threads, *loaded, cuda, os.environ["PYTHONHASHSEED"], flush=True)

if __name__ == "__main__":
    forkserver.start()
    print("torch" in sys.modules, "PYTHONSAFEPATH" in os.environ, "PYTHONHASHSEED" in os.environ, flush=True)
    one = multiprocessing.get_context("forkserver").Process(target=look, args=(None,))
    one.start()
    one.join()
    print(one.exitcode)
"""


def test_a_fork_has_torch_and_neither_cuda_nor_threads_and_a_users_file_hides_no_module(
    tmp_path: Path,
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "calendar.py").write_text("raise ImportError('this is not the standard library')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    done = subprocess.run(
        [sys.executable, "-P", "program.py"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.splitlines() == ["False False False", "1 torch workers.preload False 6640", "0"], (
        done.stderr
    )


def test_a_worker_gets_variables_that_were_set_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    found = forkserver.worker_environment()
    assert (found["CUDA_VISIBLE_DEVICES"], found["PYTHONSAFEPATH"]) == ("3", "")
