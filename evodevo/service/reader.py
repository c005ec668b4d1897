"""Read journals in pieces, for remote readers; thread-safe."""

import threading
from pathlib import Path

from evodevo.run.journal import Excerpts

RECORDS_AT_ONCE = 20_000
"""Maximum number of records per answer; readers ask again until they have all."""
MOST_JOURNALS = 64
"""Maximum number of journals whose index is kept."""


class Reader:
    """A reader of journals by record number. Files are told apart by inode, as names may be reused."""

    def __init__(self) -> None:
        self._excerpts: dict[tuple[Path, int], Excerpts] = {}
        self._lock = threading.Lock()

    def read(self, journal: Path, since: int) -> str:
        """Return whole lines of a journal, from record number `since` on."""
        with self._lock:
            key = journal, journal.stat().st_ino
            if key not in self._excerpts:
                self._excerpts[key] = Excerpts(journal)
                if len(self._excerpts) > MOST_JOURNALS:
                    del self._excerpts[next(iter(self._excerpts))]
            return self._excerpts[key].read(since, RECORDS_AT_ONCE)
