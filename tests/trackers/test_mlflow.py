"""MLflow's own client reads what the tracker has logged, from a file store and from a server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from distributed.utils import open_port

pytest.importorskip("mlflow", reason="MLflow is not installed: pip install mlflow-skinny")

from tests.integration.clusters import until
from tests.trackers.readers import mlflow_curves, mlflow_runs
from tests.trackers.stories import LOSSES_OF_BEST_LINE, RECORDS, from_scratch, story, tell


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server with a database."""
    for module in ("sqlalchemy", "alembic", "huey", "flask"):
        pytest.importorskip(module, reason=f"MLflow's server needs {module}: pip install {module}")
    directory, port = tmp_path_factory.mktemp("server"), open_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            [*command, *store],
            cwd=directory,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(lambda: _answers(f"{address}/health"), "MLflow's server")
        yield address
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def ordered(curves: dict[str, Any]) -> dict[str, Any]:
    return {name: sorted(points) for name, points in curves.items()}


def told(uri: str, run: Path, steps: int = RECORDS, experiment: str = "evodevo") -> dict[str, Any]:
    tell("mlflow", run, story(), steps, uri=uri, experiment=experiment).close()
    return ordered(mlflow_curves(uri, experiment))


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, Any]:
    """What a tracker that nothing happened to has logged of the story."""
    return told(f"file:{tmp_path}/whole", tmp_path / "undisturbed")


def test_the_search_has_a_run_and_each_line_a_child_with_all_that_came_before(tmp_path: Path) -> None:
    uri = f"file:{tmp_path}/mlruns"
    curves = told(uri, tmp_path / "run")
    runs = mlflow_runs(uri)
    lines = {name for name in runs if name.startswith("line ")}
    founders = {"line g000s000", "line g000s001", "line g000s002", "line g000s003"}
    assert lines == founders | {"line g001s001", "line g001s003", "line g002s002"}
    assert runs.keys() - lines == {"small"}
    parent = runs["small"].info.run_id
    assert {runs[line].data.tags["mlflow.parentRunId"] for line in lines} == {parent}
    assert curves["line g000s003/fom"] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert curves["line g001s001/fom"] == [(0, 1.0), (1, 0.75), (2, 0.125)]
    assert curves["line g002s002/fom"] == [(0, 1.0), (1, 0.5), (2, 0.375)]
    assert curves["line g000s001/fom"] == [(0, 3.0)]
    assert runs["line g002s002"].data.tags["evodevo.branches_from"] == "g001s000"
    assert curves["line g001s001/epochs/train_loss"] == [(3, 0.5), (4, 0.25)]
    assert curves["line g001s001/losses/train_loss"] == LOSSES_OF_BEST_LINE
    assert curves["line g000s001/losses/train_loss"] == [(4, 3.0), (8, 2.0)]
    assert curves["small/population/best"] == [(0, 1.0), (1, 0.5), (2, 0.125)]
    assert curves["small/test/accuracy"] == [(2, 0.875)]


def test_a_run_that_is_done_is_closed_and_says_which_line_is_the_best(tmp_path: Path) -> None:
    uri = f"file:{tmp_path}/mlruns"
    told(uri, tmp_path / "run", RECORDS - 1)
    assert {run.info.status for run in mlflow_runs(uri).values()} == {"RUNNING"}
    told(uri, tmp_path / "run")
    runs = mlflow_runs(uri)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    tags = runs["small"].data.tags
    assert (tags["evodevo.best_member"], tags["evodevo.best_line"]) == (
        "g002s001",
        runs["line g001s001"].info.run_id,
    )
    best = [name for name, run in runs.items() if run.data.tags.get("evodevo.is_best") == "true"]
    assert best == ["line g001s001"]
    params = runs["small"].data.params
    assert (params["search.strategy"], params["run.seed"]) == ("tri_parent", "7")
    assert params["choices.optimizer"] == "0: adam, 1: sgd"


@pytest.mark.parametrize("steps", range(2, RECORDS, 3))
def test_killed_after_a_record_and_begun_again_it_has_everything_once(
    tmp_path: Path, steps: int, whole: dict[str, Any]
) -> None:
    uri = f"file:{tmp_path}/mlruns"
    told(uri, tmp_path / "killed", steps)
    assert told(uri, tmp_path / "killed") == whole


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("requests", range(1, 60, 6))
def test_killed_between_two_requests_it_has_everything_once(
    tmp_path: Path, requests: int, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"file:{tmp_path}/mlruns"
    left = iter(range(requests))
    with monkeypatch.context() as patch:
        for name in ("create_run", "log_batch", "set_tag", "set_terminated", "update_run"):
            patch.setattr(MlflowClient, name, _until_killed(getattr(MlflowClient, name), left))
        try:
            told(uri, tmp_path / "killed")
        except Killed:
            assert next(left, None) is None
    assert told(uri, tmp_path / "killed") == whole


def _until_killed(method: Any, left: Iterator[int]) -> Any:
    def limited(*arguments: Any, **named: Any) -> Any:
        if next(left, None) is None:
            raise Killed
        return method(*arguments, **named)

    return limited


def test_members_from_scratch_are_runs_with_their_hyperparameters_as_parameters(tmp_path: Path) -> None:
    uri, pen = f"file:{tmp_path}/mlruns", from_scratch()
    tell("mlflow", tmp_path / "run", pen, len(pen.records), uri=uri)
    runs = mlflow_runs(uri)
    assert runs.keys() == {"small", *(f"line {member}" for member in pen.history.by_id)}
    assert runs["line g000s001"].data.params["optimizer"] == "sgd"
    assert runs["line g000s001"].data.metrics["fom"] == 1.0


@pytest.mark.slow
def test_a_server_has_the_same_as_files_also_after_a_kill(
    tmp_path: Path, server: str, whole: dict[str, Any]
) -> None:
    told(server, tmp_path / "run", 11)
    assert told(server, tmp_path / "run") == whole
    assert {run.info.status for run in mlflow_runs(server).values()} == {"FINISHED"}
