"""Find other copies of a damaged checkpoint: in the run's products, or in the run it was copied from."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.history import History, load_history
from evodevo.run.journal import JournalError
from evodevo.run.records import CheckpointRef
from evodevo.run.setup import JOURNAL, job_of


def find_copy(directory: Path, history: History, ref: CheckpointRef) -> bytes | None:
    """Return the content of a checkpoint from a place other than its store; None if there is no copy."""
    for path in (*directory.glob("best.*"), *directory.glob("soup.*")):
        with contextlib.suppress(OSError):
            if path.stat().st_size == ref.size_bytes:
                data = path.read_bytes()
                if hashlib.sha256(data).hexdigest() == ref.sha256:
                    return data
    if history.start == ref:
        with contextlib.suppress(CheckpointError, JournalError, UsageError, OSError):
            return _from_origin(directory, history, ref)
    return None


def _from_origin(directory: Path, history: History, ref: CheckpointRef) -> bytes | None:
    start = history.config.search.start
    if start is None:
        return None
    place = Path(start.run) if start.is_path else directory.parent / start.run
    other = load_history(place / JOURNAL)
    store = CheckpointStore(job_of(other.config, place.absolute(), other.run_id).checkpoints_url)
    return next((store.read(one) for one in _checkpoints(other) if one.has_content_of(ref)), None)


def _checkpoints(history: History) -> Iterator[CheckpointRef]:
    if history.start:
        yield history.start
    for life in history.births:
        if life.outcome and life.outcome.checkpoint:
            yield life.outcome.checkpoint
