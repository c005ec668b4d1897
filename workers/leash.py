"""Runs a program that must not outlive its worker: `python -m workers.leash PARENT_PID PROGRAM [ARG ...]`.

The program gets a process group of its own. When the parent is gone, or the leash is told to end, the
whole group is killed, so no half-dead training keeps a GPU's memory. The exit status is the program's
(128 + n for signal n).
"""

import os
import signal
import subprocess
import sys
from types import FrameType
from typing import NoReturn

POLL_S = 0.2


def main() -> int:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, _stop)
    child = subprocess.Popen(program, start_new_session=True)
    try:
        while os.getppid() == parent:
            try:
                status = child.wait(POLL_S)
                return status if status >= 0 else 128 - status
            except subprocess.TimeoutExpired:
                continue
        return 1
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
