"""Members that several workers train together, in real processes: `cluster.workers_per_member`."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evodevo as package
from evodevo.errors import RunFailed
from evodevo.run.history import History
from tests.integration.clusters import Cluster, history_of, until, untimed_history, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def three_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[package.Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        with package.local(workers=3, runs_dir=tmp_path_factory.mktemp("three_workers")) as client:
            yield client


def config_of(path: Path, name: str, use: str = "Plain", workers: int = 2, **changes: Any) -> Path:
    cluster = {"workers_per_member": workers, **changes.pop("cluster", {})}
    return write_config(
        path,
        name,
        workload__use=f"nets:{use}",
        **{"search__population": 3, "search__generations": 3, "cluster": cluster, **changes},
    )


def carried_out(client: package.Client, config: Path) -> History:
    run = client.submit(config)
    assert run.wait().state == "done", run.status().message
    return history_of(client.runs_dir / config.stem)


def foms(history: History) -> list[float | None]:
    return [life.fom for life in history.lives()]


def hashes(history: History) -> list[str]:
    return [
        life.outcome.checkpoint.sha256 for life in history.lives() if life.outcome and life.outcome.checkpoint
    ]


@pytest.mark.parametrize("use", ["Plain", "Normed", "Dropping"])
def test_a_gang_of_two_is_equal_to_itself_bit_for_bit(
    tmp_path: Path, three_workers: package.Client, use: str
) -> None:
    first, again = (
        carried_out(three_workers, config_of(tmp_path, f"{use}-{number}", use)) for number in range(2)
    )
    assert hashes(first) == hashes(again)
    assert len(hashes(first)) == 9


def test_without_batch_norm_a_gang_comes_close_to_one_process_with_the_same_batches(
    tmp_path: Path, three_workers: package.Client
) -> None:
    alone = carried_out(three_workers, config_of(tmp_path, "alone", workers=1))
    gang = carried_out(three_workers, config_of(tmp_path, "gang"))
    assert foms(gang) == pytest.approx(foms(alone), rel=1e-4)
    assert hashes(gang) != hashes(alone)


def test_batch_norm_of_a_gang_is_that_of_one_process_only_if_it_is_synchronised(
    tmp_path: Path, three_workers: package.Client
) -> None:
    alone = carried_out(three_workers, config_of(tmp_path, "normed-alone", "Normed", workers=1))
    together = {"batch_norm": "synchronised"}
    same = carried_out(three_workers, config_of(tmp_path, "normed-same", "Normed", cluster=together))
    local = carried_out(three_workers, config_of(tmp_path, "normed-local", "Normed"))
    assert foms(same) == pytest.approx(foms(alone), rel=1e-3)
    assert foms(local)[:3] != pytest.approx(foms(alone)[:3], rel=1e-3)
    assert foms(local)[:3] == pytest.approx(foms(alone)[:3], rel=0.3)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_history_is_the_same_after_a_rank_is_killed_and_one_attempt_is_lost(
    tmp_path: Path, three_workers: package.Client, rank: int
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    options = {"workload__options": {"marks": str(marks), "pause_s": 0.1}}
    quiet = carried_out(three_workers, config_of(tmp_path, f"quiet-{rank}"))
    name = f"killed-{rank}"
    run = three_workers.submit(config_of(tmp_path, name, **options))
    (mark,) = until(lambda: list(marks.glob(f"{rank}-*"))[:1], "a rank at work")
    os.kill(int(mark.name.partition("-")[2]), signal.SIGKILL)
    assert run.wait().state == "done"
    found = history_of(three_workers.runs_dir / name)
    assert hashes(found) == hashes(quiet)
    assert found.lost_attempts == 1
    directories = [three_workers.runs_dir / one for one in (name, f"quiet-{rank}")]
    assert untimed_history(directories[0]) == untimed_history(directories[1])


def test_two_runs_of_gangs_and_one_of_single_members_finish_on_three_workers(
    tmp_path: Path, three_workers: package.Client
) -> None:
    options = {"workload__options": {"pause_s": 0.01}}
    runs = [
        three_workers.submit(config_of(tmp_path, f"one-of-{number}", workers=size, **options))
        for number, size in enumerate((2, 2, 1, 3))
    ]
    assert [run.wait().state for run in runs] == ["done"] * 4
    lost = [history_of(three_workers.runs_dir / f"one-of-{number}").lost_attempts for number in range(4)]
    assert lost == [0] * 4


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_one_rank_raises_fails_the_member_with_its_traceback(
    tmp_path: Path, three_workers: package.Client, rank: str
) -> None:
    name = f"fails-{rank}"
    run = three_workers.submit(config_of(tmp_path, name, workload__options={"fails": rank}))
    with pytest.raises(RunFailed, match="this rank's share is bad"):
        run.wait()
    found = history_of(three_workers.runs_dir / name)
    first = found.by_id["g001s000"]
    assert first.outcome and "this rank's share is bad" in (first.outcome.error or "")
    assert found.lost_attempts == 0


def test_a_worker_that_is_unfit_is_refused_and_no_attempt_is_lost(tmp_path: Path, cluster: Cluster) -> None:
    cluster.start_scheduler()
    cluster.start_worker()
    with package.connect(cluster.address) as client:
        until(lambda: client_workers(client) == 1, "a worker")
        warnings = client.check(config_of(tmp_path, "unfit"))["warnings"]
        assert any("would wait for 2 workers" in warning and "now there" in warning for warning in warnings)
        run = client.submit(config_of(tmp_path, "unfit"))
        status = until(lambda: (found := run.status()).message and found, "a reason to wait")
        assert status.state == "waiting"
        assert "2 workers" in status.message
        cluster.start_worker(NETS_UNFIT="it has other data")
        until(lambda: run.status().unused_workers == 1, "a worker that is refused")
        assert run.status().state == "waiting"
        cluster.start_worker()
        assert run.wait().state == "done"
    assert history_of(cluster.runs_dir / "unfit").lost_attempts == 0


def client_workers(client: package.Client) -> int:
    with contextlib.suppress(Exception):
        return int(client.ask("hello", versions=package.versions.own_versions())["workers"])
    return 0
