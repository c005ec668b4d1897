"""Run a program that must not outlive its worker: `python -m workers.leash PARENT_PID PROGRAM [ARG ...]`.

The program gets a new process group. When the parent is gone, or the leash receives SIGTERM, the whole group
is killed, so no orphaned training holds a GPU's memory. The exit status is the program's (128 + n for signal
n).
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

POLL_S = 0.2


def main() -> int:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the worker may ignore it; its programs should not
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: told.set())
    child = subprocess.Popen(program, start_new_session=True)
    try:
        while os.getppid() == parent and not told.is_set():
            try:
                status = child.wait(POLL_S)
                return status if status >= 0 else 128 - status
            except subprocess.TimeoutExpired:
                continue
        return 128 + signal.SIGTERM
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
