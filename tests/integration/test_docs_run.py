"""What the pages show works as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.clusters import until

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


PLAIN = """
import evodevo, torch
from mine import Mine

{block}
images, labels = Mine().data(None).validation
accuracy = (model(images).argmax(1) == labels).double().mean().item()
print(accuracy, evodevo.open_run("checkpoints/mine").best.fom)
"""
"""The three lines of plain torch, and what they come to beside what the run says."""


def block(page: str, after: str, language: str) -> str:
    """Return the first code block of a language that follows some words of a page."""
    text = (DOCS / page).read_text()
    found = re.search(rf"```{language}\n(.*?)```", text[text.index(after) :], re.DOTALL)
    assert found, after
    return found[1]


def run(directory: Path, *arguments: str) -> str:
    told = subprocess.run(
        [sys.executable, *arguments], cwd=directory, capture_output=True, text=True, timeout=300, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_the_readers_own_model_is_checked_and_evolves(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(block("own-model.md", "Save this as `mine.py`", "python"))
    (tmp_path / "mine.yaml").write_text(block("own-model.md", "and this as `mine.yaml`", "yaml"))
    installed = str(
        Path(sys.executable).with_name("evodevo")
    )  # the script, which has no directory to import from
    assert "mine.yaml is good" in run(tmp_path, installed, "check", "mine.yaml")
    run(tmp_path, "-m", "evodevo", "launch", "mine.yaml", "--set", "search.generations=2")
    (tmp_path / "plain.py").write_text(
        PLAIN.replace("{block}", block("tutorial.md", "The model is yours", "python"))
    )
    told, found = run(tmp_path, "plain.py").split()
    assert float(told) == pytest.approx(float(found), abs=1e-6)
    summary = json.loads((tmp_path / "checkpoints" / "mine" / "summary.json").read_text())
    assert summary["status"] == "done"
    assert 0 < summary["test_metrics"]["test_accuracy"] <= 1


def test_the_python_example_runs(tmp_path: Path) -> None:
    example = block("api.md", "# From Python", "python")
    head, tail = example.split("schedule = ", 1)
    small = tmp_path / "configs" / "quickstart.yaml"
    small.parent.mkdir()
    text = (Path(__file__).parents[2] / "configs" / "quickstart.yaml").read_text()
    small.write_text(
        text.replace("population: 12", "population: 3").replace("generations: 12", "generations: 2")
    )
    body = head.replace("import evodevo\n", "").strip().replace("\n", "\n    ")
    script = f"import evodevo\n\nif __name__ == '__main__':\n    {body}\n    print(len(table))\n"
    (tmp_path / "script.py").write_text(script)
    assert run(tmp_path, "script.py").splitlines()[-1] == "6"
    printed = f"import evodevo\nschedule = {tail}    print(epoch, settings['learning_rate'])\n"
    assert len(run(tmp_path, "-c", printed).splitlines()) >= 1


def test_the_function_example_finds_the_minimum(tmp_path: Path) -> None:
    example = block("own-model.md", "## Any function", "python")
    assert block("search.md", "## Any function", "python") == example
    (tmp_path / "bowl.py").write_text(example)
    fom = float(run(tmp_path, "bowl.py").split()[0])
    assert fom < 1e-2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bowl.py", "progress.png"]


def test_the_command_example_inherits_and_evolves(tmp_path: Path) -> None:
    """A program that walks from its checkpoint towards 3 by steps of its learning rate."""
    (tmp_path / "train.py").write_text(
        "import argparse, pathlib\n"
        "p = argparse.ArgumentParser()\n"
        "for flag in ('--resume', '--save', '--seed', '--learning_rate'): p.add_argument(flag)\n"
        "a = p.parse_args()\n"
        "x = float(pathlib.Path(a.resume).read_text()) if a.resume else 0.0\n"
        "x += float(a.learning_rate) * (3 - x)\n"
        "pathlib.Path(a.save).write_text(repr(x))\n"
        "print('FoM:', abs(3 - x))\n"
    )
    config = block("own-model.md", "## Any program", "yaml").replace(
        "python train.py", f"{sys.executable} train.py"
    )
    (tmp_path / "walk.yaml").write_text(
        f"run: {{name: walk}}\n{config}"
        "search:\n  population: 4\n  generations: 3\n  loci:\n"
        "    learning_rate: {type: float, low: 0.01, high: 0.5, initial: 0.2}\n"
    )
    run(tmp_path, "-m", "evodevo", "launch", "walk.yaml")
    summary = json.loads((tmp_path / "checkpoints" / "walk" / "summary.json").read_text())
    one_epoch_at_best = 3 * (1 - 0.5)
    assert summary["best_fom"] < one_epoch_at_best, "more than one epoch's way needs inherited parameters"
    assert float((tmp_path / "checkpoints" / "walk" / "best.checkpoint").read_text()) > 0


def test_the_clusters_commands_start_a_cluster_that_carries_a_run_out(tmp_path: Path) -> None:
    """The two commands of the section on clusters, with ports and directories of the test's own."""
    scheduler, worker = re.findall(
        r"```bash\n((?:DASK_\S+ )?dask .*?)```", (DOCS / "cluster.md").read_text(), re.DOTALL
    )
    own = {"/shared": str(tmp_path), "dask ": f"{sys.executable} -m dask "}
    processes = []
    try:
        for command, more in (
            (scheduler, "--host 127.0.0.1 --port 0 --dashboard-address 127.0.0.1:0"),
            (worker, "--host 127.0.0.1 --dashboard-address 127.0.0.1:0"),
        ):
            for old, new in own.items():
                command = command.replace(old, new)
            with open(tmp_path / "log", "ab") as log:
                shell = subprocess.Popen(
                    f"exec env {command.strip()} {more}",
                    shell=True,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            processes.append(shell)
            until((tmp_path / "scheduler.json").exists, "the scheduler's file")
        quickstart = str(Path(__file__).parents[2] / "configs" / "quickstart.yaml")
        small = ("--set", "search.population=2", "--set", "search.generations=1")
        run(tmp_path, "-m", "evodevo", "launch", quickstart, "--scheduler-file", "scheduler.json", *small)
        assert (tmp_path / "runs" / "quickstart" / "best.safetensors").exists()
    finally:
        for shell in processes[::-1]:
            os.killpg(shell.pid, 15)
            shell.wait()
