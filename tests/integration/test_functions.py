"""Any Python function on a real local cluster: `evodevo.minimise` and `evodevo.maximise`."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import evodevo
from evodevo.errors import RunFailed, UsageError
from evodevo.evolution.space import FloatLocus
from tests.integration import objectives

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BOX = {"x": (-5.0, 5.0), "y": (-5.0, 5.0)}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with evodevo.local(2, tmp_path_factory.mktemp("runs")) as made:
        yield made


def genomes_and_foms(result: evodevo.FunctionResult) -> list[tuple[Any, ...]]:
    rows = result.rows()
    return [(row["member"], row["hp.x"], row["hp.y"], row["fom"]) for row in rows]


def test_a_function_of_a_module_and_a_closure_have_the_same_history(client: evodevo.Client) -> None:
    at = {"x": 1, "y": -2}

    def closure(x: float, y: float) -> float:
        return float((x - at["x"]) ** 2 + (y - at["y"]) ** 2)

    small: dict[str, Any] = {"generations": 8, "seed": 3, "client": client}
    one = evodevo.minimise(objectives.paraboloid, BOX, name="module", **small)
    other = evodevo.minimise(closure, BOX, name="closure", **small)
    assert genomes_and_foms(one) == genomes_and_foms(other)
    assert one.best is not None
    assert one.best.fom == objectives.paraboloid(**one.best.values) < 1
    mirrored = evodevo.maximise(lambda x, y: -closure(x, y), BOX, **small)
    assert mirrored.best is not None
    assert mirrored.best.fom == -one.best.fom
    assert mirrored.directory is None
    assert not [*client.runs_dir.glob("function-*")], "a run without a name leaves nothing"


def test_no_point_is_evaluated_twice(client: evodevo.Client, tmp_path: Path) -> None:
    space: dict[str, Any] = {"x": (-3, 3), "directory": {"type": "fixed", "value": str(tmp_path)}}
    result = evodevo.minimise(objectives.told_of, space, generations=5, client=client)
    calls = (tmp_path / "calls").read_text().split()
    tried = {str(row["hp.x"]) for row in result.rows()}
    assert len(result.rows()) == 50
    assert len(calls) <= len(tried) + 2, "a trial or two come before the run"
    assert set(calls) >= tried


def test_nothing_of_a_run_s_directory_has_the_function(client: evodevo.Client) -> None:
    marker = "a text that only the function has"
    result = evodevo.minimise(
        lambda x: float(len(marker)) + x, {"x": (0.0, 1.0)}, name="unwritten", generations=2, client=client
    )
    assert result.directory is not None
    files = [path for path in result.directory.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".jsonl", ".lock", ".json", ".yaml", ".csv", ".html", ".png"}
    for path in files:
        assert marker.encode() not in path.read_bytes(), path


def test_a_call_that_raises_has_failed_and_one_without_a_value_diverged(client: evodevo.Client) -> None:
    space = {"x": FloatLocus(type="float", low=-1.0, high=1.0), "kind": ["raises", "nan"]}
    result = evodevo.minimise(
        objectives.moody, space, generations=4, population=12, strategy="random_search", client=client
    )
    states = {row["status"] for row in result.rows()}
    assert states == {"done", "failed", "diverged"}
    assert all("ValueError: no root of" in text for text in result.failures.values())
    assert result.failures
    assert result.best is not None
    assert result.best.fom < 0.5


def test_a_function_that_always_raises_ends_the_run_with_its_traceback(client: evodevo.Client) -> None:
    with pytest.raises(RunFailed, match="ZeroDivisionError"):
        evodevo.minimise(lambda x: x / 0, {"x": (0.0, 1.0)}, generations=2, client=client)


def test_a_call_that_hangs_is_given_up(tmp_path: Path) -> None:
    """Ten seconds after its time its worker is restarted, which is sent the function again."""
    with evodevo.local(2, tmp_path) as client:
        result = evodevo.minimise(
            lambda x: objectives.sleepy(x),
            {"x": (0, 3)},
            generations=1,
            population=6,
            timeout_s=0.5,
            max_attempts=1,
            client=client,
            strategy="random_search",
        )
    by_x = {row["hp.x"]: row["status"] for row in result.rows()}
    assert by_x[3] == "failed", "seed 0 draws it"
    assert {state for x, state in by_x.items() if x < 3} == {"done"}


def test_bad_input_is_one_message(client: evodevo.Client) -> None:
    def refused(function: Any, space: Any, **more: Any) -> str:
        with pytest.raises(UsageError) as why:
            evodevo.minimise(function, space, client=client, **more)
        return str(why.value)

    lock = threading.Lock()
    assert "cannot be called with x, z" in refused(objectives.paraboloid, {"x": (0, 1), "z": (0, 1)})
    assert "give a callable" in refused(3, BOX)
    assert "cannot be sent" in refused(lambda x: lock, {"x": (0, 1)})
    assert "already exists" in refused(objectives.paraboloid, BOX, name="module")
    assert "no strategy 'tri_parnt'" in refused(objectives.paraboloid, BOX, strategy="tri_parnt")


SCRIPT = """
import evodevo

result = evodevo.minimise(
    lambda x, y: (x - 1) ** 2 + y**2, {"x": (-5.0, 5.0), "y": (-5.0, 5.0)},
    generations=GENERATIONS, workers=2, name=NAME,
)
print(result.directory, result.best.fom)
result.plot("progress.png")
"""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_three_lines_run_as_a_script_without_a_guard(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("GENERATIONS", "5").replace("NAME", "None"))
    told = run(tmp_path, "script.py")
    assert told.returncode == 0, told.stderr
    directory, fom = told.stdout.split()
    assert directory == "None", "a run without a name leaves nothing"
    assert float(fom) < 5
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["progress.png", "script.py"]


def test_a_run_of_a_script_s_function_cannot_be_resumed_elsewhere_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("GENERATIONS", "2").replace("NAME", "'kept'"))
    assert run(tmp_path, "script.py").returncode == 0
    summary = json.loads((tmp_path / "checkpoints" / "kept" / "summary.json").read_text())
    assert summary["status"] == "done"
    told = run(tmp_path, "-m", "evodevo", "resume", "kept", "--generations", "4")
    assert told.returncode == 2, told.stdout + told.stderr
    assert "cannot be resumed" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_run_of_a_module_s_function_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f(x, y):\n    return (x - 1) ** 2 + y**2\n")
    script = SCRIPT.replace("lambda x, y: (x - 1) ** 2 + y**2", "__import__('mine').f")
    (tmp_path / "script.py").write_text(script.replace("GENERATIONS", "2").replace("NAME", "'kept'"))
    assert run(tmp_path, "script.py").returncode == 0
    told = run(tmp_path, "-m", "evodevo", "resume", "kept", "--generations", "4")
    assert told.returncode == 0, told.stdout + told.stderr
    summary = json.loads((tmp_path / "checkpoints" / "kept" / "summary.json").read_text())
    assert summary["status"] == "done"
    rows = evodevo.open_run(tmp_path / "checkpoints" / "kept").history()
    assert len(rows) == 40
