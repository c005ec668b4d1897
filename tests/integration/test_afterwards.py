"""What is done with a run that is over, as a person types it: more generations, another run, the model."""

import os
import re
import signal
from pathlib import Path

import pytest
import safetensors.torch

from evodevo.run.setup import CONFIG
from tests.integration.clusters import (
    Held,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)
from workers.state import model_state

pytestmark = pytest.mark.slow


def done(*arguments: str) -> str:
    """What a command says that does what it should."""
    finished = evodevo(*arguments)
    assert finished.returncode == 0, finished.stderr
    return re.sub(r" +", " ", finished.stdout)


def refused(*arguments: str) -> str:
    finished = evodevo(*arguments)
    begun = re.fullmatch(r"(starting \d+ workers? and trying \w+ \.\.\.\n)?", finished.stdout)
    assert finished.returncode == 2 and begun, finished.stdout
    assert len(finished.stderr.splitlines()) == 1
    return finished.stderr.removeprefix("evodevo: ").rstrip()


def test_an_extended_run_that_is_killed_comes_to_what_a_longer_one_comes_to(
    tmp_path: Path, processes: Processes
) -> None:
    held = Held(tmp_path)
    held.file.unlink()
    config = write_config(tmp_path, workload__options=held.options)
    done("launch", str(config), "--runs-dir", str(tmp_path / "whole"), "--set", "search.generations=4")

    runs = tmp_path / "runs"
    run, at = runs / "digits", ("--runs-dir", str(runs))
    told = done("launch", str(config), *at, "--set", "search.generations=2")
    assert "from the given values" in told
    assert refused("resume", "digits", *at, "--generations", "2") == (
        "run 'digits' already has 2 generations; give --generations more than that"
    )
    for mark in held.marks.iterdir():
        mark.unlink()
    held.file.touch()
    extending = processes.start("-m", "evodevo", "resume", "digits", *at, "--generations", "4", log="resume")
    held.until_epochs_began(2)
    assert "running" in done("status", "digits", *at)
    held.kill()
    os.killpg(extending.pid, signal.SIGKILL)
    extending.wait()
    held.file.unlink()
    until(lambda: history_of(run).config.search.generations == 4, "the journal to say so")
    assert history_of(run).end is None
    assert "4 of 4" in done("resume", "digits", *at)
    assert untimed_history(run) == untimed_history(tmp_path / "whole" / "digits")
    assert "generations: 4" in (run / CONFIG).read_text()


def test_another_run_begins_from_the_best_and_the_model_is_taken_away(tmp_path: Path) -> None:
    runs = ("--runs-dir", str(tmp_path / "runs"))
    config = str(write_config(tmp_path, search__population=3, search__generations=2))
    second = ("--set", "run.name=second", "--set", "search.start.run=digits")
    assert "no run 'digits'" in refused("check", config, *second, *runs)
    done("launch", config, *runs)
    first = history_of(tmp_path / "runs" / "digits")
    assert first.best is not None
    assert f"start {first.best.id} of digits (validation_loss" in done("check", config, *second, *runs)

    told = done("launch", config, *second, *runs)
    assert f"began from {first.best.id} of digits" in told
    history = history_of(tmp_path / "runs" / "second")
    founder = history.generations[0][0]
    assert founder.birth.genome == first.best.birth.genome
    assert founder.fom is not None
    assert first.best.fom is not None
    assert founder.fom < 1.2 * first.best.fom < min(life.fom or 9.0 for life in first.generations[0])
    assert "run second is done already" in done("launch", config, *second, *runs, "--resume")

    done("prune", "digits", *runs)
    assert "are missing (`evodevo prune` deletes them)" in refused(
        "resume", "digits", *runs, "--generations", "3"
    )
    done("prune", "second", *runs)
    replayed = done("replay", "second", *runs)
    assert "the same as the original's, bit for bit" in replayed

    out = tmp_path / "digits.safetensors"
    assert str(out) in done("export", "second", *runs, "--out", str(out))
    state = safetensors.torch.load_file(out)
    best = (tmp_path / "runs" / "second" / "best.safetensors").read_bytes()
    assert {name: value.tolist() for name, value in state.items()} == {
        name: value.tolist() for name, value in model_state(best).items()
    }
    assert set(state) == {"1.weight", "1.bias"}


def test_a_start_from_another_kind_of_workload_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    runs = tmp_path / "runs"
    config = str(write_config(tmp_path, search__population=2, search__generations=1))
    done("launch", config, "--runs-dir", str(runs))
    program = ("--set", "workload={command: sh train.sh}", "--set", "objective={metric: fom, mode: min}")
    start = ("--set", "run.name=second", "--set", "search.start.run=digits")
    told = refused("launch", config, *program, *start, "--runs-dir", str(runs))
    assert "the checkpoints of 'digits' are of a workload class (workload.use)" in told
    other = ("--set", "workload.use=tiny:Tiny", *start, "--runs-dir", str(runs))
    for command in ("check", "launch"):
        told = refused(command, config, *other)
        assert told.startswith("search.start: tiny:Tiny cannot begin with these parameters: RuntimeError: ")
        assert 'Missing key(s) in state_dict: "weight", "bias"' in told
    assert sorted(path.name for path in runs.iterdir()) == ["digits"]
