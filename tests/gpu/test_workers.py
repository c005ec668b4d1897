"""Workers of a node with real GPUs pin themselves to one each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed import Client
from distributed.utils import open_port

from tests.integration.clusters import PATIENCE_S, Cluster, Processes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    processes = Processes(tmp_path)
    yield Cluster(processes, tmp_path / "runs", open_port())
    processes.end()


def test_each_worker_has_one_gpu_and_one_too_many_has_none(cluster: Cluster, tmp_path: Path) -> None:
    def seen() -> dict[str, Any]:  # on a worker, which cannot import this file
        import os

        from workers.preload import current_device

        device = current_device()
        return {
            "pinned": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "count": torch.cuda.device_count(),
            "device": str(device),
            "sum": float(torch.ones(3, device=device).sum()),
        }

    gpus = torch.cuda.device_count()
    cluster.start_scheduler()
    cluster.start_worker("--nworkers", str(gpus), TMPDIR=str(tmp_path))
    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(gpus, timeout=PATIENCE_S)
        found: dict[str, dict[str, Any]] = client.run(seen)
        cluster.start_worker(TMPDIR=str(tmp_path))
        client.wait_for_workers(gpus + 1, timeout=PATIENCE_S)
    assert len({one["pinned"] for one in found.values()}) == gpus
    assert {(one["count"], one["device"], one["sum"]) for one in found.values()} == {(1, "cuda:0", 3.0)}
    assert "are in use by other workers" in cluster.processes.log("scheduler")
