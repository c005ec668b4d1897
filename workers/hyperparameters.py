"""The mapping of hyperparameters that a workload receives."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any


class UnknownHyperparameter(KeyError):
    """A workload reads a hyperparameter that the member does not have."""

    def __str__(self) -> str:
        return str(self.args[0])


class Hyperparameters(Mapping[str, Any]):
    """A mapping with a clear error for a missing name, which records in `read` the names asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        try:
            return self._values[name]
        except KeyError:
            raise UnknownHyperparameter(
                f"the workload reads the hyperparameter {name!r}, which search.loci does not define; "
                f"it defines {', '.join(self._values) or 'none'}"
            ) from None

    @contextlib.contextmanager
    def recording(self) -> Iterator[set[str]]:
        """Collect the names that are asked for within the block, including missing ones."""
        before, self.read = self.read, set()
        found = self.read
        try:
            yield found
        finally:
            self.read = before | found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Hyperparameters({self._values})"
