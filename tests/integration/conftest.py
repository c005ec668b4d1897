"""Fixtures for tests of whole runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed.utils import open_port

from evodevo.run import controller
from tests.integration.clusters import Cluster, Processes


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path)
    yield found
    found.end()


@pytest.fixture
def cluster(processes: Processes, tmp_path: Path, unused_port: int) -> Cluster:
    return Cluster(processes, tmp_path / "runs", unused_port)


@pytest.fixture
def unused_port() -> int:
    return open_port()


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs of schedulers in this process draw no plots at their ends."""
    monkeypatch.setattr(controller, "RENDER", "unplotted:write_products")
