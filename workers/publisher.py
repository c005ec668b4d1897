"""Write checkpoints to the store in the background while training continues.

A single thread writes all waiting checkpoints at once, so that small ones share a flush. Its queue is bounded
in number and bytes: a store that is slower than the training slows the training down.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import CheckpointRef

logger = logging.getLogger("evodevo.publisher")

MOST_WAITING = 16
MOST_WAITING_BYTES = 512 << 20


@dataclass(frozen=True)
class _Waiting:
    store: CheckpointStore
    ref: CheckpointRef
    data: bytes
    done: Callable[[Exception | None], None]


class Publisher:
    """A background thread that writes checkpoints; it lives until the process ends."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._at_work = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="evodevo-publisher", daemon=True)
        self._thread.start()

    def publish(
        self,
        store: CheckpointStore,
        ref: CheckpointRef,
        data: bytes,
        done: Callable[[Exception | None], None],
    ) -> None:
        """Queue a checkpoint for writing; wait while the queue is full.

        `done` is called from the thread, with None once the checkpoint is durable or with the store's error.
        """
        with self._changed:
            self._changed.wait_for(self._has_room)
            self._waiting.append(_Waiting(store, ref, data, done))
            self._bytes += len(data)
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until all queued checkpoints have been written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._at_work)

    def _has_room(self) -> bool:
        return len(self._waiting) < MOST_WAITING and self._bytes < MOST_WAITING_BYTES

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                batch, self._waiting = self._waiting, []
                self._at_work = len(batch)
            self._write_batch(batch)
            with self._changed:
                self._at_work = 0
                self._bytes -= sum(len(one.data) for one in batch)
                self._changed.notify_all()

    def _write_batch(self, batch: list[_Waiting]) -> None:
        """Write a batch with one call per store; if that fails, write each file separately."""
        stores = {one.store.url: one.store for one in batch}
        for url, store in stores.items():
            own = [one for one in batch if one.store.url == url]
            try:
                store.write({one.ref.name: one.data for one in own})
            except Exception as why:
                self._write_singly(store, own, why)
            else:
                for one in own:
                    _tell(one, None)

    def _write_singly(self, store: CheckpointStore, own: list[_Waiting], why: Exception) -> None:
        if len(own) == 1:
            _tell(own[0], why)
            return
        for one in own:
            try:
                store.write({one.ref.name: one.data})
            except Exception as its_own:
                _tell(one, its_own)
            else:
                _tell(one, None)


def _tell(one: _Waiting, why: Exception | None) -> None:
    """Call `done`; log an exception, so that the next checkpoints are still written."""
    try:
        one.done(why)
    except Exception:
        logger.exception("checkpoint %s", one.ref.name)
