"""How a program is told its hyperparameters: `workload.flags`."""

from typing import Any

import pytest

from evodevo.config import parse
from tests.configs import complaint, small
from tests.golden import assert_golden

LOCI = {
    "nesterov": {"type": "bool", "initial": True},
    "n": {"type": "bool", "initial": True},
    "amsgrad": {"type": "choice", "choices": [True, False], "initial": True},
    "fused": {"type": "fixed", "value": True},
    "mixed": {"type": "choice", "choices": [True, None], "initial": True},
    "rate": {"type": "float", "low": -1.0, "high": 1.0, "initial": 0.5},
}


def config(flags: Any, command: Any = "train") -> dict[str, Any]:
    workload = {"command": command, "flags": flags}
    return small({"workload": workload, "search.loci": LOCI})


def test_booleans_of_every_kind_of_locus_may_be_bare_negatable_or_numbers() -> None:
    flags = {"nesterov": "bare", "amsgrad": "negatable", "fused": "number", "rate": "equals", "n": "bare"}
    made = parse(config(flags))
    assert made.workload.flags == flags
    assert parse(made.to_json()) == made


@pytest.mark.parametrize("kind", ["bare", "negatable", "number"])
@pytest.mark.parametrize("name", ["rate", "mixed"])
def test_a_flag_for_booleans_is_refused_for_another_locus(kind: str, name: str) -> None:
    told = complaint(lambda: parse(config({name: kind})))
    assert told.startswith(f"config: workload.flags.{name}: ")
    assert_golden("config/flags/not-a-boolean", told, name=name, kind=kind)


@pytest.mark.parametrize(
    ("name", "flags", "command", "key"),
    [
        ("unknown-name", {"nestorov": "bare"}, "train", "workload.flags.nestorov"),
        ("placeholder-too", {"nesterov": "bare"}, ["train", "--x={nesterov}"], "workload.flags.nesterov"),
        ("negatable-one-letter", {"n": "negatable"}, "train", "workload.flags.n"),
        ("unknown-kind", {"nesterov": "bear"}, "train", "workload.flags.nesterov"),
        ("boolean", {"nesterov": True}, "train", "workload.flags.nesterov"),
        ("list", ["nesterov"], "train", "workload.flags"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(name: str, flags: Any, command: Any, key: str) -> None:
    told = complaint(lambda: parse(config(flags, command)))
    assert told.startswith(f"config: {key}: ")
    assert "\n" not in told
    assert_golden(f"config/flags/{name}", told)


def test_flags_without_a_command_are_refused() -> None:
    told = complaint(lambda: parse(small({"workload.flags": {"layers": "value"}})))
    assert told.startswith("config: workload: ")
    assert_golden("config/flags/without-command", told)
