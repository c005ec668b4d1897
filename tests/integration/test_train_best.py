"""The fittest genome is trained until it gets no better, as a person types it, also in two goes."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import safetensors.torch

from tests.integration.clusters import Held, Processes, evodevo, history_of, until, write_config

pytestmark = pytest.mark.slow


def done(*arguments: str) -> str:
    finished = evodevo(*arguments)
    assert finished.returncode == 0, finished.stderr
    return re.sub(r" +", " ", finished.stdout)


def refused(*arguments: str) -> str:
    finished = evodevo(*arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    return finished.stderr.removeprefix("evodevo: ").rstrip()


def test_the_best_is_trained_until_it_stops_improving_and_an_interrupted_training_resumes(
    tmp_path: Path, processes: Processes
) -> None:
    held = Held(tmp_path)
    held.file.unlink()
    config = write_config(
        tmp_path, workload__options=held.options, search__population=2, search__generations=1
    )
    runs, whole = tmp_path / "runs", tmp_path / "whole"
    done("launch", str(config), "--runs-dir", str(runs))
    shutil.copytree(runs, whole)
    best = history_of(runs / "digits").best
    assert best is not None

    command = ("train-best", "digits", "--patience", "2", "--max-epochs", "6")
    told = done(*command, "--runs-dir", str(whole))
    assert str(whole / "digits" / "trained.safetensors") in told
    assert len(re.findall(r"test_loss [\d.]+ \(never selected by\)", told)) == 1
    (life,) = history_of(whole / "digits-trained").lives()
    first, *_ = life.outcomes()
    assert first.fom == best.fom  # the epoch that the search has seen
    assert life.fom is not None
    assert best.fom is not None
    assert life.fom < best.fom

    for mark in held.marks.iterdir():
        mark.unlink()
    held.file.touch()
    at = ("--runs-dir", str(runs))
    process = processes.start("-m", "evodevo", *command, *at, log="interrupted")
    held.until_epochs_began(1)
    os.kill(process.pid, signal.SIGINT)
    until(lambda: "resumes the run" in processes.log("interrupted"), "the command to be interrupted")
    held.file.unlink()
    until(lambda: process.poll() is not None, "the end of the command")
    assert process.returncode == 130
    done(*command, *at)
    mine, its = (
        safetensors.torch.load_file(directory / "digits" / "trained.safetensors")
        for directory in (runs, whole)
    )
    assert {name: value.tolist() for name, value in mine.items()} == {
        name: value.tolist() for name, value in its.items()
    }

    other = refused("train-best", "digits", "--patience", "3", *at)
    assert "run 'digits-trained' was started with a different config (different search)" in other
