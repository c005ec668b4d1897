"""Programs as workloads: the results of running them."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import Outcome
from tests.workers.conftest import Program
from tests.workers.toys import command_attempt, files, run_one
from workers import directories
from workers.examine import examine
from workers.workloads.command import Command


def run(directory: Path, *command: str, **hyperparameters: Any) -> Outcome:
    return run_one(*command_attempt(directory, list(command), hyperparameters=hyperparameters))


def failure(directory: Path, *command: str) -> str:
    outcome = run(directory, *command)
    assert (outcome.status, outcome.fom, outcome.checkpoint) == ("failed", None, None)
    assert outcome.error
    return outcome.error.partition("CommandFailed: ")[2].rstrip()


@pytest.mark.parametrize(
    ("printed", "fom"),
    [
        ("FoM: 0.25\n", 0.25),
        ("FoM: 0.25", 0.25),
        ("FoM:-3", -3.0),
        ("FoM: 1e-3  \r\n", 0.001),
        ("FoM: 9\nepoch done\nFoM: 0.5\nbye FoM: 7\n", 0.5),
    ],
)
def test_the_last_fom_line_is_the_fom(tmp_path: Path, printed: str, fom: float) -> None:
    outcome = run(tmp_path, "printf", "%s", printed)
    assert outcome.status == "done", outcome.error
    assert outcome.fom == fom
    assert outcome.metrics == {"fom": fom}
    assert outcome.checkpoint is None


@pytest.mark.parametrize("printed", ["FoM: nan", "FoM: inf", "FoM: -inf", "FoM: 1\nFoM: NaN"])
def test_a_fom_that_is_not_finite_is_divergence(tmp_path: Path, printed: str) -> None:
    outcome = run(tmp_path, "printf", "%s", printed)
    assert (outcome.status, outcome.fom) == ("diverged", None)
    assert outcome.notes == (f"fom is {outcome.metrics['fom']}",)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("loss 0.25\n", "there is none\n--- end of its stdout:\nloss 0.25"),
        ("", "there is none"),
        ("FoM: 1\nFoM: good\n", "its last one is 'FoM: good'\n--- end of its stdout:\nFoM: 1\nFoM: good"),
    ],
)
def test_without_a_number_in_the_last_fom_line_it_failed_and_the_error_shows_what_it_printed(
    tmp_path: Path, printed: str, said: str
) -> None:
    error = failure(tmp_path, "printf", "%s", printed)
    assert error.endswith(f": should print a line 'FoM: <number>'; {said}")


def test_a_number_on_the_line_after_fom_is_not_its_number(tmp_path: Path) -> None:
    assert "should print a line" in failure(tmp_path, "printf", "%s", "FoM:\n3\n")


def test_a_fom_on_the_standard_error_does_not_count(tmp_path: Path) -> None:
    error = failure(tmp_path, "sh", "-c", "echo FoM: 1 >&2")
    assert "there is none\n--- end of its stderr:\nFoM: 1" in error


def test_an_exit_status_is_a_failure_with_the_tails_of_both_outputs_whatever_was_printed(
    tmp_path: Path, program: Program
) -> None:
    text = (
        "import sys\n"
        "print('x' * 5000 + 'the end'); print('FoM: 1')\n"
        "print('y' * 5000 + 'CUDA out of memory', file=sys.stderr)\n"
        "sys.exit(3)\n"
    )
    error = failure(tmp_path, *program(text))
    first, out, err = error.partition("\n--- end of its stdout:\n")[0], *error.split("\n--- end of its ")[1:]
    assert first.endswith(": exit status 3")
    assert out.startswith("stdout:\nx") and out.endswith("the end\nFoM: 1")
    assert err.startswith("stderr:\ny") and err.endswith("CUDA out of memory")
    assert max(len(out), len(err)) < 2100


def test_a_program_that_was_killed_is_a_failure_with_its_signal(tmp_path: Path) -> None:
    assert "exit status 137" in failure(tmp_path, "sh", "-c", "kill -9 $$")


def test_a_missing_program_is_a_failure_that_names_it(tmp_path: Path) -> None:
    assert "No such file or directory: 'no-such-program'" in failure(tmp_path, "no-such-program")


def test_output_that_is_not_text_does_no_harm(tmp_path: Path) -> None:
    assert run(tmp_path, "printf", r"\377\376\nFoM: 2\n").fom == 2.0
    assert "exit status 1" in failure(tmp_path, "sh", "-c", r"printf '\377'; exit 1")


def test_a_program_gets_none_of_the_workers_input(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("FoM: 9\n")
    kept = os.dup(0)
    with (tmp_path / "input").open() as file:
        os.dup2(file.fileno(), 0)
    try:
        outcome = run(tmp_path, "sh", "-c", "echo FoM: 1; cat")
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert outcome.fom == 1.0


def test_the_program_gets_every_argument_as_it_stands(tmp_path: Path, program: Program) -> None:
    text = "import json, sys\njson.dump(sys.argv[3:], open(sys.argv[1], 'w'))\nprint('FoM:', sys.argv[2])\n"
    words = ["a b", "", "it's", '"', "$HOME", "{{x}}"]
    outcome = run(tmp_path, *program(text), "{checkpoint_out}", "{rate}", *words, rate=0.5, a=1.5)
    assert outcome.fom == 0.5, outcome.error
    (left,) = files(tmp_path / "params")
    assert json.loads(left.read_text()) == [*words[:5], "{x}", "-a", "1.5"]


INHERITING = """\
import sys
checkpoint_in, checkpoint_out, seed = sys.argv[1:]
trained = open(checkpoint_in).read() if checkpoint_in else ""
open(checkpoint_out, "w").write(trained + seed + ";")
print("FoM:", len(trained))
"""


def test_a_child_starts_from_what_its_alpha_left_at_checkpoint_out(tmp_path: Path, program: Program) -> None:
    command = [*program(INHERITING), "{checkpoint_in}", "{checkpoint_out}", "{seed}"]
    parent, foms = None, []
    for seed in (11, 12, 13):
        outcome = run_one(*command_attempt(tmp_path, command, parent, training_seed=seed))
        assert outcome.checkpoint, outcome.error
        assert outcome.checkpoint.name.endswith(".checkpoint")
        parent = outcome.checkpoint
        foms.append(outcome.fom)
    assert parent
    assert (tmp_path / "params" / parent.name).read_text() == "11;12;13;"
    assert foms == [0, 3, 6]


def test_in_a_leg_of_several_epochs_it_is_called_once_an_epoch_each_from_what_the_last_call_left(
    tmp_path: Path, program: Program
) -> None:
    command = [*program(INHERITING), "{checkpoint_in}", "{checkpoint_out}", "{seed}"]
    first = run_one(*command_attempt(tmp_path, command, training_seed=11, longest_leg=3))
    assert first.checkpoint, first.error
    assert (tmp_path / "params" / first.checkpoint.name).read_text() == "11;12;13;"
    assert (first.fom, first.epochs) == (6, ())
    second = run_one(*command_attempt(tmp_path, command, first.checkpoint, training_seed=50, longest_leg=2))
    assert second.checkpoint, second.error
    assert (tmp_path / "params" / second.checkpoint.name).read_text() == "11;12;13;50;51;"
    assert len(list(files(tmp_path / "params"))) == 2


SAVES_A_DIRECTORY = """\
import os, sys
checkpoint_in, checkpoint_out, seed = sys.argv[1:]
trained = open(f"{checkpoint_in}/deep/weights").read() if checkpoint_in else ""
os.makedirs(f"{checkpoint_out}/deep")
open(f"{checkpoint_out}/config.json", "w").write("{}")
open(f"{checkpoint_out}/deep/weights", "w").write(trained + seed + ";")
print("FoM:", len(trained))
"""


def test_a_directory_at_checkpoint_out_is_inherited_like_a_file(tmp_path: Path, program: Program) -> None:
    command = [*program(SAVES_A_DIRECTORY), "{checkpoint_in}", "{checkpoint_out}", "{seed}"]
    first = run_one(*command_attempt(tmp_path, command, training_seed=11, longest_leg=2))
    second = run_one(*command_attempt(tmp_path, command, first.checkpoint, training_seed=13))
    assert (first.fom, second.fom) == (3, 6), second.error
    assert second.checkpoint
    directories.unpack((tmp_path / "params" / second.checkpoint.name).read_bytes(), tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "weights").read_text() == "11;12;13;"
    again = run_one(*command_attempt(tmp_path, command, first.checkpoint, training_seed=13))
    assert again.checkpoint
    assert again.checkpoint.sha256 == second.checkpoint.sha256


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ('mkdir -p "$0/empty"', "it contains no files"),
        ('mkdir "$0"; ln -s /etc/passwd "$0/out"', "the link out points outside of it, to /etc/passwd"),
        ('mkdir "$0"; mkfifo "$0/pipe"', "pipe is neither a file nor a directory nor a link"),
    ],
)
def test_a_directory_that_cannot_be_kept_is_a_failure_that_says_why(
    tmp_path: Path, script: str, why: str
) -> None:
    error = failure(tmp_path, "sh", "-c", f"{script}; echo FoM: 1", "{checkpoint_out}")
    assert f"left a directory at {{checkpoint_out}} that cannot be kept: {why}\n" in error


def test_a_directory_that_would_leave_its_place_is_a_failure_of_the_child(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../outside"))
    bad = CheckpointStore(str(tmp_path / "params")).publish(
        "m-a1", directories.BEGINNING + (tmp_path / "bad.tar").read_bytes()
    )
    outcome = run_one(*command_attempt(tmp_path, ["echo", "{checkpoint_in}", "{checkpoint_out}"], bad))
    assert outcome.status == "failed"
    assert "the directory to start from cannot be unpacked: '../outside'" in str(outcome.error)


def test_a_checkpoint_out_that_was_not_written_is_a_failure(tmp_path: Path) -> None:
    error = failure(tmp_path, "sh", "-c", "echo FoM: 1; echo forgot >&2", "{checkpoint_out}")
    assert "left no file or directory at {checkpoint_out}\n--- end of its stdout:\nFoM: 1" in error
    assert error.endswith("--- end of its stderr:\nforgot")


def test_an_empty_file_at_checkpoint_out_is_inherited_like_any_other(tmp_path: Path) -> None:
    outcome = run(tmp_path, "sh", "-c", ': > "$0"; echo FoM: 1', "{checkpoint_out}")
    assert outcome.status == "done"
    assert outcome.checkpoint is not None


def test_a_command_reports_nothing_of_other_splits(tmp_path: Path, program: Program) -> None:
    command = [*program(INHERITING), "{checkpoint_in}", "{checkpoint_out}", "{seed}"]
    about, given = command_attempt(tmp_path, command)
    ref = run_one(about, given).checkpoint
    assert ref
    assert examine(about, ref, {}, "nowhere") == {}
    workload = Command(["echo", "FoM: 1"])
    state = workload.begin({}, 7, None)
    assert workload.evaluate(state, "validation") == {}
    for _ in workload.train(state):
        pass
    assert workload.evaluate(state, "validation") == {"fom": 1.0}
    assert workload.evaluate(state, "test") == {}


def test_the_program_sees_the_workers_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert run(tmp_path, "sh", "-c", "echo FoM: $CUDA_VISIBLE_DEVICES").fom == 5.0
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
