"""Mutate configs and journals, as input for fuzzing."""

import copy
import datetime
import json
import random
from collections.abc import Sequence
from typing import Any

import yaml

from evodevo import yaml_text
from evodevo.run.journal import encode

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3.5, -0.0, 1e-320, 1e308, 10**9, 2**63, -(2**70)),
    *(float("nan"), float("inf"), -float("inf"), datetime.date(2020, 1, 1), b"bytes"),
    *(
        "",
        " ",
        "0",
        "1e-3",
        "auto",
        "null",
        "~",
        "12:00:00",
        "min",
        "max",
        "log",
        "float",
        "choice",
        "command",
    ),
    *("~nouser/x", "~/x", "../..", "/", "/dev/null/x", "a\0b", "memory://x", "s3://", "file://"),
    *("\ud800", "é", "学习率", "a" * 5000, "\n", "{", "a:b", "os:system", "evodevo.nowhere:X"),
    *("command", "tri_parent", "scheduled", "replay", [], {}, [[]], [{}], [1, 2, 3], ["a", "b"], [None]),
    *({"": 1}, {"a": {"b": {"c": 1}}}, {"low": 1}),
)
"""Values that are invalid in most places."""
TAGS = (
    *(
        "!!int",
        "!!float",
        "!!bool",
        "!!null",
        "!!timestamp",
        "!!binary",
        "!!set",
        "!!omap",
        "!!pairs",
        "!!map",
    ),
    *(
        "!!map",
        "!!seq",
        "!!str",
        "!!python/object:os.system",
        "!x",
        "&a",
        "*a",
        "<<:",
        "? ",
        "- ",
        "%YAML 9.9",
        "---",
    ),
    *("...", "|", ">", "'", '"', "[", "]", "{", "}", ",", "#", "\t", "\x07", "\ufeff"),
)
"""Strings to insert somewhere into a text."""


def mutated(data: dict[str, Any], chance: random.Random) -> str:
    """Return the YAML text of a config after some changes to its data, and now and then to its text."""
    data = copy.deepcopy(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        change(data, chance)
    try:
        text = yaml_text.dump(data)
    except (yaml.YAMLError, ValueError):
        text = repr(data)
    for _ in range(chance.choice((0, 0, 0, 1))):
        text = _changed(text, chance)
    return text


def change(data: dict[str, Any], chance: random.Random) -> None:
    """Make a change in a random place of the tree."""
    place: Any = data
    while True:
        parts = place.values() if isinstance(place, dict) else place
        inner = [one for one in parts if isinstance(one, dict | list) and one]
        if not inner or chance.random() < 0.25:
            break
        place = chance.choice(inner)
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    key = chance.choice(keys)
    match chance.randrange(6):
        case 0 | 1:
            place[key] = chance.choice(ODD)
        case 2:
            del place[key]
        case 3:
            place[key] = [place[key]] if chance.random() < 0.5 else {str(key): place[key]}
        case 4 if isinstance(place, dict):
            odd = chance.choice(ODD)
            place[odd if isinstance(odd, str | int | float | bool | None) else f"{key}x"] = place[key]
        case _:
            other = chance.choice(keys)
            place[key], place[other] = place[other], place[key]


def mutated_records(records: Sequence[dict[str, Any]], chance: random.Random) -> list[dict[str, Any]]:
    """Return the records of a journal after one to three changes, numbered as a journal numbers them."""
    found = copy.deepcopy(list(records))
    for _ in range(chance.choice((1, 1, 2, 3))):
        at, other = chance.randrange(len(found)), chance.randrange(len(found))
        match chance.randrange(6):
            case 0:
                found.insert(other, copy.deepcopy(found[at]))
            case 1:
                del found[at]
            case 2:
                found[at], found[other] = found[other], found[at]
            case 3:
                found[at] = _with_other_members(found[at], found, chance)
            case _:
                one = copy.deepcopy(found[at])
                change(one, chance)
                found[at] = one if _fits_a_journal(one) else found[at]
    return [
        {"n": number} | {key: value for key, value in one.items() if key != "n"}
        for number, one in enumerate(found)
    ]


def _with_other_members(
    record: dict[str, Any], records: Sequence[dict[str, Any]], chance: random.Random
) -> dict[str, Any]:
    """Return a record in which one member's id is replaced by another's."""
    ids = [one["member"] for one in records if one.get("kind") == "outcome"]
    text = json.dumps(record)
    named = [member for member in ids if f'"{member}"' in text]
    if not named:
        return record
    changed: dict[str, Any] = json.loads(
        text.replace(f'"{chance.choice(named)}"', f'"{chance.choice(ids)}"', 1)
    )
    return changed


def _fits_a_journal(record: dict[str, Any]) -> bool:
    try:
        encode(record)
    except (TypeError, ValueError):
        return False
    return True


def _changed(text: str, chance: random.Random) -> str:
    """Return a text with a line or a few characters changed."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            lines.insert(at, chance.choice(lines))
        case 1:
            del lines[at]
        case 2:
            lines[at] = " " * chance.randint(0, 5) + lines[at].lstrip()
        case _:
            column = chance.randint(0, len(lines[at]))
            lines[at] = f"{lines[at][:column]} {chance.choice(TAGS)} {lines[at][column:]}"
    return "\n".join(lines)
