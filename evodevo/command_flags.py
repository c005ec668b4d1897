"""Pass hyperparameters to a user's program: the kinds of flags in a config's `workload.flags`.

  value      --name value, the default; booleans are true and false
  equals     --name=value: for negative numbers, which argparse may take for another flag
  bare       --name if true, nothing if false (argparse's store_true)
  negatable  --name or --no-name (argparse's BooleanOptionalAction)
  number     --name 1 or --name 0

A name of one letter has one hyphen: `-n value`, and `-nvalue` for `equals`.
"""

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any, Literal

FlagKind = Literal["value", "equals", "bare", "negatable", "number"]
FOR_BOOLEANS = ("bare", "negatable", "number")


def flag_of(name: str, value: Any, kind: FlagKind = "value") -> list[str]:
    """Return the arguments that pass one hyperparameter to a program."""
    flag, text = f"--{name}" if len(name) > 1 else f"-{name}", text_of(value)
    match kind:
        case "bare":
            return [flag] if value else []
        case "negatable":
            return [flag if value else f"--no-{name}"]
        case "number":
            return [flag, str(int(value))]
        case "equals":
            return [f"{flag}={text}" if len(name) > 1 else f"{flag}{text}"]
    return [flag, text]


def text_of(value: Any) -> str:
    """Return a value as a program gets it: booleans and lists as JSON."""
    return json.dumps(value) if isinstance(value, bool | list) else str(value)


OWN_PLACEHOLDERS = ("checkpoint_in", "checkpoint_out", "seed", "epoch_dir", "data_root")
"""Placeholders that evodevo fills in; hyperparameters cannot have these names."""


def placeholders(part: str) -> list[str]:
    """Return the names in braces. Raises `ValueError` for anything else in braces."""
    found = []
    for _, name, form, conversion in string.Formatter().parse(part):
        if form or conversion:
            raise ValueError(
                f"{{{name}:{form or conversion}}} is not a placeholder; give only a name in braces"
            )
        if name is not None:
            found.append(name)
    return found


def problems(
    command: str | Sequence[str], flags: Mapping[str, FlagKind], loci: Mapping[str, Any]
) -> list[str]:
    """Return what is wrong with a command's flags, given the loci."""
    found = []
    for name, kind in flags.items():
        key = f"workload.flags.{name}"
        if name not in loci:
            found.append(f"{key}: {name!r} is not a hyperparameter; known: {', '.join(loci)}")
        elif name in _placeholders_of(command):
            found.append(f"{key}: the command already has the placeholder {{{name}}}; remove one of the two")
        elif kind in FOR_BOOLEANS and not _is_boolean(loci[name]):
            found.append(
                f"{key}: {kind} requires a bool locus, or choices [true, false]; use value or equals"
            )
        elif kind == "negatable" and len(name) == 1:
            found.append(
                f"{key}: negatable (--name, --no-name) requires a name of two or more letters; use number"
            )
    return found


def warnings(
    command: str | Sequence[str], flags: Mapping[str, FlagKind], loci: Mapping[str, Any]
) -> list[str]:
    """Return a warning for each boolean hyperparameter without a flag or placeholder."""
    told = {*flags, *_placeholders_of(command)}
    return [
        f"{name} is a boolean, passed as `{' '.join(flag_of(name, False))}`, which argparse reads as True "
        f"with type=bool and refuses with store_true; choose its flag: workload.flags: {{{name}: bare}} for "
        "store_true, negatable for BooleanOptionalAction, number for 1 and 0, value for true and false"
        for name, locus in loci.items()
        if name not in told and _is_boolean(locus)
    ]


def _placeholders_of(command: str | Sequence[str]) -> set[str]:
    parts = [command] if isinstance(command, str) else command
    try:
        return {name for part in parts for name in placeholders(part)}
    except ValueError:  # the worker reports it
        return set()


def _is_boolean(locus: Any) -> bool:
    values = {"choice": "choices", "fixed": "value"}
    if locus.type not in values:
        return bool(locus.type == "bool")
    found = getattr(locus, values[locus.type])
    return all(isinstance(one, bool) for one in (found if isinstance(found, list) else [found]))
