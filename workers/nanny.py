"""`dask worker --preload-nanny workers.nanny`: a warning reaches the worker instead of ending it.

Dask's nanny answers SIGTERM by killing its worker, and the epoch with it; SIGUSR1 kills the nanny. With
this it passes both on to the worker, which finishes its epoch and goes, and the nanny with it.
"""

import contextlib
import os
import signal

from distributed import Nanny

from workers import departure


def dask_setup(nanny: Nanny) -> None:
    def leave(why: str) -> None:
        if nanny.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGUSR1)

    departure.on_signals(leave)
