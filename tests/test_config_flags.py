"""How a program is told its hyperparameters: `workload.flags`."""

from typing import Any

import pytest

from evodevo.config import parse
from tests.configs import complaint, small

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
    assert complaint(lambda: parse(config({name: kind}))) == (
        f"config: workload.flags.{name}: {kind} is for a bool locus, or choices [true, false]; "
        "give value or equals"
    )


@pytest.mark.parametrize(
    ("flags", "command", "said"),
    [
        (
            {"nestorov": "bare"},
            "train",
            "workload.flags.nestorov: 'nestorov' is not a hyperparameter; "
            "those are nesterov, n, amsgrad, fused, mixed, rate",
        ),
        (
            {"nesterov": "bare"},
            ["train", "--x={nesterov}"],
            "workload.flags.nesterov: the command has the placeholder {nesterov}; leave one of the two out",
        ),
        (
            {"n": "negatable"},
            "train",
            "workload.flags.n: negatable needs a name of two letters or more, for --name and --no-name",
        ),
        (
            {"nesterov": "bear"},
            "train",
            "workload.flags.nesterov: value should be 'value', 'equals', 'bare', 'negatable' or 'number', "
            "not 'bear'",
        ),
        ({"nesterov": True}, "train", "workload.flags.nesterov: "),
        (["nesterov"], "train", "workload.flags: should be a mapping"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(flags: Any, command: Any, said: str) -> None:
    told = complaint(lambda: parse(config(flags, command)))
    assert told.startswith(f"config: {said}")
    assert "\n" not in told


def test_flags_without_a_command_are_refused() -> None:
    told = complaint(lambda: parse(small({"workload.flags": {"layers": "value"}})))
    assert told == "config: workload: flags are of a command; with `use` leave them out"
