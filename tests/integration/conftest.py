"""Fixtures for tests of whole runs."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.clusters import Cluster, Processes


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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
