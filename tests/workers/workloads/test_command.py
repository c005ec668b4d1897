"""Any program as a workload: its arguments, and its checks. Nothing is run here."""

import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evodevo.command_flags import FlagKind
from evodevo.errors import UsageError
from tests.golden import raises_golden
from tests.workers.conftest import Program
from workers.workloads.command import Command


def arguments(command: str | list[str], **hyperparameters: Any) -> list[str]:
    return Command(command).begin(hyperparameters, 7, None).arguments


@pytest.mark.parametrize(
    ("hyperparameters", "flags"),
    [
        ({"learning_rate": 0.01}, ["--learning_rate", "0.01"]),
        ({"a": 1.5}, ["-a", "1.5"]),
        ({"rate": 1e-5}, ["--rate", "1e-05"]),
        ({"depth": -3}, ["--depth", "-3"]),
        ({"nesterov": True, "amsgrad": False}, ["--nesterov", "true", "--amsgrad", "false"]),
        ({"kind": "adam w"}, ["--kind", "adam w"]),
        ({"layers": [64, [8, "a"]]}, ["--layers", '[64, [8, "a"]]']),
        ({"kind": "{x}"}, ["--kind", "{x}"]),
        ({"z": 1, "bb": 2, "a": 3}, ["-z", "1", "--bb", "2", "-a", "3"]),
        ({}, []),
    ],
    ids=str,
)
def test_each_hyperparameter_becomes_a_flag(hyperparameters: Mapping[str, Any], flags: list[str]) -> None:
    assert arguments("train", **hyperparameters) == ["train", *flags]


PARSER = """\
import argparse, json
parser = argparse.ArgumentParser()
parser.add_argument("--nesterov", action="store_true")
parser.add_argument("--amsgrad", action=argparse.BooleanOptionalAction)
parser.add_argument("--fused", type=int)
parser.add_argument("--rate", type=float)
parser.add_argument("-d", type=float)
parser.add_argument("--layers", type=json.loads)
print(json.dumps(vars(parser.parse_args())))
"""
KINDS: dict[str, FlagKind] = {
    "nesterov": "bare", "amsgrad": "negatable", "fused": "number", "rate": "equals", "d": "equals",
}  # fmt: skip


@pytest.mark.parametrize("value", [True, False])
def test_argparse_understands_every_kind_of_flag_as_it_was_meant(value: bool, program: Program) -> None:
    """`--rate -1e-05` with a space is an error to it, as that begins like a flag."""
    given = {
        "nesterov": value,
        "amsgrad": value,
        "fused": value,
        "rate": -1e-5,
        "d": -2e-5,
        "layers": [64, 8],
    }
    command = Command(program(PARSER), KINDS).begin(given, 7, None).arguments
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == {**given, "fused": int(value)}


@pytest.mark.parametrize(
    ("kind", "true", "false"),
    [
        ("value", ["--on", "true"], ["--on", "false"]),
        ("equals", ["--on=true"], ["--on=false"]),
        ("bare", ["--on"], []),
        ("negatable", ["--on"], ["--no-on"]),
        ("number", ["--on", "1"], ["--on", "0"]),
    ],
)
def test_a_boolean_is_passed_as_its_flag_says(kind: FlagKind, true: list[str], false: list[str]) -> None:
    for value, expected in ((True, true), (False, false)):
        command = Command("train", {"on": kind})
        assert command.begin({"on": value, "b": 1}, 7, None).arguments == ["train", *expected, "-b", "1"]


def test_a_bare_flag_of_one_letter_has_one_hyphen() -> None:
    assert Command("train", {"n": "bare"}).begin({"n": True}, 7, None).arguments == ["train", "-n"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("train {rate} --x", ["train", "0.5", "--x", "-b", "true"]),
        ("train --lr={rate} --again {rate}", ["train", "--lr=0.5", "--again", "0.5", "-b", "true"]),
        ("train {b}{rate}", ["train", "true0.5"]),
        ("train '{{rate}} {b}'", ["train", "{rate} true", "--rate", "0.5"]),
        (["{b}", "a {rate} b"], ["true", "a 0.5 b"]),
    ],
)
def test_a_hyperparameter_with_a_placeholder_goes_there_and_is_no_flag(
    command: str | list[str], expected: list[str]
) -> None:
    assert arguments(command, rate=0.5, b=True) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python 'my script.py' \"it's\" ''", ["python", "my script.py", "it's", ""]),
        (
            ["python", "my script.py", "it's", "", "$HOME", "*"],
            ["python", "my script.py", "it's", "", "$HOME", "*"],
        ),
        ("train $HOME | tee *", ["train", "$HOME", "|", "tee", "*"]),
    ],
)
def test_a_text_is_split_as_a_shell_would_and_a_list_is_taken_as_it_is_and_no_shell_sees_them(
    command: str | list[str], expected: list[str]
) -> None:
    assert arguments(command) == expected


def test_the_placeholders_of_its_own_are_filled_in() -> None:
    command = Command("train {seed} {epoch_dir} {checkpoint_in} {checkpoint_out} {data_root}")
    command.prepare(None, "/data")
    attempt = command.begin({}, 7, None)
    _, seed, epoch_dir, checkpoint_in, checkpoint_out, data_root = attempt.arguments
    assert (seed, checkpoint_in, data_root) == ("7", "", "/data")
    assert Path(epoch_dir).is_dir()
    assert Path(checkpoint_out).parent == Path(epoch_dir)
    assert not Path(checkpoint_out).exists()


def test_without_a_data_root_its_placeholder_is_empty() -> None:
    command = Command(["train", "{data_root}"])
    command.prepare(None, None)
    assert command.begin({}, 7, None).arguments == ["train", ""]


def test_a_child_finds_its_alphas_bytes_in_the_file_it_is_told_of_and_a_founder_finds_no_name() -> None:
    command = Command("train {checkpoint_in}")
    child = command.begin({}, 7, b"\x00weights")
    assert Path(child.arguments[1]).read_bytes() == b"\x00weights"
    empty = command.begin({}, 7, b"")
    assert Path(empty.arguments[1]).read_bytes() == b""
    assert command.begin({}, 7, None).arguments == ["train", ""]


def test_two_attempts_have_directories_of_their_own_that_go_when_they_are_dropped(
    nothing_left_behind: Path,
) -> None:
    attempts = [Command("train {epoch_dir}").begin({}, 7, b"weights") for _ in range(2)]
    assert len({attempt.arguments[1] for attempt in attempts}) == 2
    assert len(list(nothing_left_behind.iterdir())) == 2
    del attempts
    assert list(nothing_left_behind.iterdir()) == []


def test_a_placeholder_that_nothing_fills_is_refused_with_those_that_there_are() -> None:
    with raises_golden("command/placeholder", UsageError) as caught:
        arguments("train {rate} {width}", rate=0.5)
    assert str(caught.value).startswith("workload.command: ")


@pytest.mark.parametrize(
    ("name", "part"), [("open", "{"), ("closed", "}"), ("open-name", "{rate"), ("closed-inside", "a}b")]
)
def test_a_lone_brace_is_refused_with_the_way_to_write_one(name: str, part: str) -> None:
    with raises_golden(f"command/brace/{name}", UsageError):
        Command(["train", part])


def test_a_quote_that_is_never_closed_is_refused_as_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"workload\.command"):
        Command("train 'a")


@pytest.mark.parametrize("part", ["{seed.__class__}", "{rate[0]}", "{0}", "{}"])
def test_a_placeholder_is_a_name_and_reaches_nothing_inside_a_value(part: str) -> None:
    with raises_golden("command/not-a-name", UsageError, placeholder=part):
        arguments(["train", part], rate="abc")


def test_a_rehearsal_finds_the_program_on_the_path_and_beside_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for command in ("sh train.sh", "./train.sh", shlex.quote(str(script))):
        assert Command(command).rehearse({"rate": 0.5}) == (["fom"], {"rate"})


def test_a_program_that_may_not_be_executed_is_refused_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.sh").write_text("#!/bin/sh\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="execut"):
        Command("./train.sh").rehearse({})


@pytest.mark.parametrize(("command", "kind"), [("train {checkpoint_out}", "with"), ("train", "without")])
def test_the_facts_are_the_command_and_whether_it_leaves_checkpoints(command: str, kind: str) -> None:
    (fact,) = Command(command).facts()
    assert fact == f"command {shlex.join(command.split())}, {kind} checkpoints"
