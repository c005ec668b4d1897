"""A run is a function of its config and seed, whatever happens to its workers and its scheduler."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import distributed
import pytest

import evodevo as package
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.journal import Tail, encode
from tests.integration.clusters import (
    PATIENCE_S,
    Cluster,
    Held,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)

pytestmark = pytest.mark.slow

PACES: dict[str, dict[str, Any]] = {
    "generations": {"search__pace": "generations"},
    "pools": {"search__pace": "pools", "search__pool": 3},
}
each_pace = pytest.mark.parametrize("pace", PACES)
SMALL: dict[str, dict[str, Any]] = {
    "generations": {"search__population": 3, "search__generations": 3},
    "pools": {
        "search__population": 4,
        "search__generations": 4,
        "search__pace": "pools",
        "search__pool": 2,
    },
    "legs": {"search__population": 3, "search__generations": 2, "search__legs": 2},
    "ploidy": {"search__population": 3, "search__generations": 3, "search__ploidy": 2},
}


def losses_of(run: Path) -> dict[str, list[Any]]:
    """Return the losses within the epochs of each member, leg by leg."""
    return {life.id: [one.losses for one in life.outcomes()] for life in history_of(run).lives()}


def config_of(directory: Path, pace: str, name: str = "digits", **changes: Any) -> Path:
    """The config of one and the same run, but for `changes` that must not matter."""
    return write_config(directory, name, search__population=8, **PACES[pace], **changes)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[dict[str, str]]]:
    """The histories of runs with one worker that nothing happens to, by their pace."""
    directory = tmp_path_factory.mktemp("undisturbed")
    found = {}
    for pace in PACES:
        config = config_of(directory, pace, pace)
        done = evodevo("launch", str(config), "--runs-dir", str(directory), "--workers", "1")
        assert done.returncode == 0, done.stderr
        found[pace] = untimed_history(directory / pace)
    assert found["pools"] != found["generations"]
    return found


@pytest.fixture(scope="module")
def three_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[package.Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        with package.local(workers=3, runs_dir=tmp_path_factory.mktemp("three_workers")) as client:
            yield client


def began(run: Path, generation: int) -> bool:
    return any(life.outcome for lives in history_of(run).generations[generation:] for life in lives)


@each_pace
@pytest.mark.parametrize("members", [1, 7, "auto"])
def test_the_history_is_the_same_with_three_workers_and_any_number_of_members_a_task(
    tmp_path: Path,
    three_workers: package.Client,
    undisturbed: Mapping[str, list[dict[str, str]]],
    pace: str,
    members: object,
) -> None:
    name = f"{pace}-{members}"
    run = three_workers.submit(config_of(tmp_path, pace, name, cluster={"members_per_task": members}))
    assert run.wait().state == "done"
    assert untimed_history(three_workers.runs_dir / name) == undisturbed[pace]


@each_pace
@pytest.mark.parametrize("at_once", [3, "auto"])
def test_the_history_is_the_same_with_several_members_at_once_on_each_worker(
    tmp_path: Path,
    three_workers: package.Client,
    undisturbed: Mapping[str, list[dict[str, str]]],
    pace: str,
    at_once: object,
) -> None:
    """On CPU `auto` is 1, and the journal says so."""
    name = f"{pace}-{at_once}-at-once"
    run = three_workers.submit(config_of(tmp_path, pace, name, cluster={"members_per_device": at_once}))
    assert run.wait().state == "done"
    assert untimed_history(three_workers.runs_dir / name) == undisturbed[pace]
    history = history_of(three_workers.runs_dir / name)
    several = any(life.outcome.aside_s for life in history.lives() if life.outcome)
    assert (history.config.cluster.members_per_device, several) == ((3, True) if at_once == 3 else (1, False))


@each_pace
def test_the_history_is_the_same_with_a_worker_killed_that_had_three_members_at_once(
    tmp_path: Path, processes: Processes, undisturbed: Mapping[str, list[dict[str, str]]], pace: str
) -> None:
    """Only those three are lost. Each is tried again alone, and none is charged with a failure."""
    held = Held(tmp_path)
    cluster = {"workers": 1, "members_per_device": 3}
    config = config_of(
        tmp_path,
        pace,
        workload__options=held.options,
        cluster=cluster,
        limits={"max_attempts": 1},
    )
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="launch"
    )
    held.until_epochs_began(1)
    held.kill()
    held.file.unlink()
    assert launched.wait(PATIENCE_S) == 0, processes.log("launch")
    history = history_of(tmp_path / "digits")
    assert sorted(life.id for life in history.lives() if life.lost) == ["g000s000", "g000s001", "g000s002"]
    assert history.lost_attempts == 3
    assert untimed_history(tmp_path / "digits") == undisturbed[pace]


@each_pace
@pytest.mark.parametrize("members", [1, 7, "auto"])
def test_the_history_is_the_same_with_workers_killed_at_random(
    tmp_path: Path,
    three_workers: package.Client,
    undisturbed: Mapping[str, list[dict[str, str]]],
    pace: str,
    members: object,
) -> None:
    draw = random.Random(f"{pace} {members}")
    name = f"{pace}-{members}-killed"
    config = config_of(
        tmp_path,
        pace,
        name,
        workload__options={"pause_s": 0.1},
        cluster={"members_per_task": members},
        limits={"max_attempts": 30},
    )
    run = three_workers.submit(config)
    directory = three_workers.runs_dir / name
    with distributed.Client(three_workers.address, set_as_default=False) as dask:
        while history_of(directory).lost_attempts < 3 and history_of(directory).end is None:
            time.sleep(draw.uniform(0.1, 0.4))
            processes = until(lambda: dask.run(os.getpid, on_error="ignore"), "a worker")
            with contextlib.suppress(ProcessLookupError):  # killed already
                os.kill(draw.choice(sorted(processes.values())), signal.SIGKILL)
    assert run.wait().state == "done"
    assert history_of(directory).lost_attempts, "nothing was disturbed"
    assert untimed_history(directory) == undisturbed[pace]


@each_pace
def test_the_history_is_the_same_with_all_workers_killed_in_the_middle_of_a_task(
    tmp_path: Path, processes: Processes, undisturbed: Mapping[str, list[dict[str, str]]], pace: str
) -> None:
    held = Held(tmp_path)
    config = config_of(
        tmp_path, pace, workload__options=held.options, cluster={"workers": 2, "members_per_task": 7}
    )
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="launch"
    )
    held.until_epochs_began(2)
    held.kill()
    held.file.unlink()
    assert launched.wait(PATIENCE_S) == 0, processes.log("launch")
    assert history_of(tmp_path / "digits").lost_attempts >= 2
    assert untimed_history(tmp_path / "digits") == undisturbed[pace]


@each_pace
def test_the_history_is_the_same_after_the_scheduler_was_killed_twice(
    tmp_path: Path, processes: Processes, undisturbed: Mapping[str, list[dict[str, str]]], pace: str
) -> None:
    """With a cluster started by the command, the scheduler dies with it, and `resume` continues the run."""
    config = config_of(tmp_path, pace, workload__options={"pause_s": 0.2})
    arguments = ("launch", str(config))
    for generation in (1, 2):
        launched = processes.start("-m", "evodevo", *arguments, "--runs-dir", str(tmp_path), log="launch")
        until(lambda g=generation: began(tmp_path / "digits", g), f"an outcome in generation {generation}")
        os.kill(launched.pid, signal.SIGKILL)
        launched.wait()
        arguments = ("resume", "digits")
    assert history_of(tmp_path / "digits").end is None
    done = evodevo("resume", "digits", "--runs-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert untimed_history(tmp_path / "digits") == undisturbed[pace]


def test_a_restarted_scheduler_carries_its_runs_on_by_itself(
    tmp_path: Path, cluster: Cluster, undisturbed: Mapping[str, list[dict[str, str]]]
) -> None:
    cluster.start_scheduler()
    for _ in range(2):
        cluster.start_worker()
    config = config_of(tmp_path, "generations", workload__options={"pause_s": 0.2})
    run = cluster.runs_dir / "digits"
    submitted = evodevo("launch", str(config), "--detach", "--scheduler", cluster.address)
    assert submitted.returncode == 0, submitted.stderr
    for generation in (1, 2):
        until(
            lambda g=generation: history_of(run).completed() >= g, f"generation {generation} to be complete"
        )
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        for worker in cluster.workers:
            worker.wait(PATIENCE_S)  # a worker ends with its scheduler
        cluster.start_scheduler()
        cluster.workers = [cluster.start_worker(), cluster.start_worker()]
    until(lambda: (run / "report" / "index.html").exists(), "the report")
    assert history_of(run).end == "done"
    assert untimed_history(run) == undisturbed["generations"]


def test_the_losses_within_epochs_are_the_same_with_one_worker_and_with_two_and_with_turns(
    tmp_path: Path,
) -> None:
    found = []
    for name, cluster in {
        "one": {"workers": 1},
        "two": {"workers": 2, "members_per_task": 2},
        "turns": {"workers": 2, "members_per_device": 3},
    }.items():
        workload = {"use": "tiny:Tiny", "options": {}}
        asked = {"run__losses_per_epoch": 3, "search__epochs_per_generation": 2}
        config = write_config(tmp_path, name, workload=workload, cluster=cluster, **asked)
        done = evodevo("launch", str(config), "--runs-dir", str(tmp_path))
        assert done.returncode == 0, done.stderr
        found.append((untimed_history(tmp_path / name), losses_of(tmp_path / name)))
    assert found[0] == found[1] == found[2]
    for legs in found[0][1].values():
        assert [(epoch.steps, len(epoch.means)) for epoch in legs[0]] == [(4, 3), (4, 3)]


class Archive:
    """Keeps each checkpoint that a run deletes, and notes how many records its journal had by then."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.deleted_at: dict[str, int] = {}

    def delete(self, store: CheckpointStore, names: list[str]) -> None:
        """In place of `CheckpointStore.delete`."""
        if Path(store.url).parent == self.run:
            self.deleted_at |= dict.fromkeys(names, len(Tail(self.run / "journal.jsonl").read()))

    def restore(self, count: int, directory: Path) -> None:
        """Restore the run's directory as it was after `count` records, without later checkpoints.

        The next outcome's checkpoint is included: published but not journaled.
        """
        records = Tail(self.run / "journal.jsonl").read()
        published = [record.get("outcome", {}).get("checkpoint") for record in records[: count + 1]]
        names = [found["name"] for found in published if found]
        records[0]["config"]["run"]["name"] = directory.name
        (directory / "params").mkdir(parents=True)
        (directory / "journal.jsonl").write_bytes(b"".join(_line(record) for record in records[:count]))
        for name in names:
            if self.deleted_at.get(name, len(records) + 1) > count:
                shutil.copy(self.run / "params" / name, directory / "params")


def _line(record: dict[str, Any]) -> bytes:
    record.pop("crc", None)
    return encode(record)


def members_with_checkpoints(names: list[str]) -> list[str]:
    return sorted(name.partition("-")[0] for name in names)


@pytest.mark.usefixtures("without_plots")
@pytest.mark.parametrize("search", SMALL)
def test_the_history_is_the_same_with_the_scheduler_killed_at_any_record(
    tmp_path: Path, three_workers: package.Client, monkeypatch: pytest.MonkeyPatch, search: str
) -> None:
    """Each prefix of a run's journal is what a killed scheduler left, and is resumed."""
    runs_dir = three_workers.runs_dir
    archive = Archive(runs_dir / f"small-{search}")
    config = write_config(
        tmp_path,
        archive.run.name,
        workload={"use": "tiny:Tiny", "options": {}},
        run__losses_per_epoch=2,
        **SMALL[search],
    )
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "delete", lambda store, names: archive.delete(store, list(names)))
        assert three_workers.submit(config).wait().state == "done"
    expected, losses = untimed_history(archive.run), losses_of(archive.run)
    records = Tail(archive.run / "journal.jsonl").read()
    assert [record["kind"] for record in records[:2]] == ["run", "controller"]
    assert records[-1]["kind"] == "end"
    left = [path.name for path in (archive.run / "params").iterdir() if path.name not in archive.deleted_at]
    assert archive.deleted_at

    resumed = {}
    for count in range(1, len(records)):
        directory = runs_dir / f"{search}-{count:02d}"
        archive.restore(count, directory)
        resumed[count] = three_workers.run(directory.name)
        resumed[count].resume()
    for count, run in resumed.items():
        assert run.wait().state == "done", f"after record {count}"
        directory = runs_dir / run.name
        assert untimed_history(directory) == expected, f"after record {count}"
        assert losses_of(directory) == losses, f"after record {count}"
        kept = [path.name for path in (directory / "params").iterdir()]
        assert members_with_checkpoints(kept) == members_with_checkpoints(left), f"after record {count}"
