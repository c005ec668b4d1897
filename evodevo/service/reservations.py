"""Names of runs that a request is about to start, so that no other request starts them meanwhile."""

import contextlib
from collections.abc import Iterator


class Reservations:
    """The reserved names. A request that finds a name here must refuse to start that run."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Reserve a name until the end of the block."""
        self._names.add(name)
        try:
            yield
        finally:
            self._names.discard(name)
