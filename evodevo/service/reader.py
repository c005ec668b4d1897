"""Journals for readers far away, in pieces; for any thread."""

import threading
from pathlib import Path

from evodevo.run.journal import Excerpts

RECORDS_AT_ONCE = 20_000
"""Maximum number of records per answer; readers ask again until they have all."""
MOST_JOURNALS = 64
"""Journals whose index is kept."""


class Reader:
    """Reads journals by record number. A file is known by its inode: a name may be used for another run."""

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
