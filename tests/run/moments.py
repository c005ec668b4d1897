"""A run as a kill leaves it: its journal and its checkpoints, at any record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from evodevo.run.journal import Journal, Record
from evodevo.run.setup import JOURNAL


@dataclass(frozen=True)
class Moment:
    """A run's directory as a kill leaves it."""

    journal: bytes
    checkpoints: frozenset[tuple[str, bytes]] = field(repr=False)

    @classmethod
    def of(cls, directory: Path) -> "Moment":
        found = [path for path in (directory / "params").glob("*") if path.suffix == ".safetensors"]
        return cls((directory / JOURNAL).read_bytes(), frozenset((p.name, p.read_bytes()) for p in found))

    def restore(self, directory: Path) -> Path:
        (directory / "params").mkdir(parents=True)
        (directory / JOURNAL).write_bytes(self.journal)
        for name, data in self.checkpoints:
            (directory / "params" / name).write_bytes(data)
        return directory


def moments_of(directory: Path, carry_out: Callable[[], object]) -> list[Moment]:
    """Carry out a run; return what a kill would have left before, in the middle of, and after each record.

    Of records that are written together, any number may have reached the disk.
    """
    moments: list[Moment] = []
    append = Journal.append

    def watched(journal: Journal, records: Sequence[Mapping[str, Any]]) -> list[Record]:
        before = Moment.of(directory)
        full = append(journal, records)
        written = before.journal
        moments.append(before)
        for line in Moment.of(directory).journal[len(written) :].splitlines(keepends=True):
            moments.append(Moment(written + line[: len(line) // 2], before.checkpoints))
            written += line
            moments.append(Moment(written, before.checkpoints))
        return full

    with patch.object(Journal, "append", watched):
        carry_out()
    assert moments, "no journal was written"
    return list(dict.fromkeys(moments))
