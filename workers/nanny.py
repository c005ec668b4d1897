"""`dask worker --preload-nanny workers.nanny`: forward warning signals to the worker instead of killing it.

Dask's nanny answers SIGTERM by killing its worker in the middle of an epoch; SIGUSR1 kills the nanny. With
this preload it forwards both to the worker, which finishes its epoch and exits, and the nanny with it.
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
