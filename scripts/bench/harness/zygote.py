"""A process with torch, Dask and evodevo imported, from which the harness forks its processes.

Each fork runs `dask scheduler`, `dask worker`, `evodevo` or a batch of `harness.fuzz` in its own session,
without repeating the imports, which would take 3 s of CPU for each of a thousand processes. Requests are
lines of JSON on standard input; the answer to each is the process ID.
"""

import json
import os
import signal
import sys
import traceback
from typing import Any

import dask
import distributed.cli.dask_scheduler
import distributed.cli.dask_worker
import torch  # noqa: F401

import evodevo.cli
import evodevo.cli_commands
import evodevo.cli_results
import evodevo.report.products
import evodevo.service.page
import evodevo.service.plugin
import harness.fuzz
import workers.describe
import workers.preload
import workers.unit  # noqa: F401

PROGRAMS: dict[str, Any] = {
    "scheduler": distributed.cli.dask_scheduler.main,
    "worker": distributed.cli.dask_worker.main,
    "evodevo": evodevo.cli.main,
    "fuzz": harness.fuzz.main,
}


def serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children leave no zombies
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(**json.loads(line))
        print(pid, flush=True)


def _become(program: str, arguments: list[str], log: str, status: str, environment: dict[str, str]) -> None:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 1)
        os.dup2(1, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(environment)
        dask.config.refresh()
        sys.argv = [program, *arguments]
        PROGRAMS[program](arguments)
        code = 0
    except SystemExit as why:
        code = why.code if isinstance(why.code, int) else 0 if why.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with open(status, "w") as file:
            file.write(str(code))
        os._exit(code)


if __name__ == "__main__":
    serve()
