"""Turns pydantic's errors into sentences for the person who wrote the YAML."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from evodevo.evolution.space import Locus

LOCUS_TYPES: dict[str, type[BaseModel]] = {
    model.model_fields["type"].annotation.__args__[0]: model for model in get_args(get_args(Locus)[0])
}


_KINDS = ("str", "int", "float", "bool")


def describe(error: ValidationError, model: type[BaseModel], prefix: Sequence[str] = ()) -> list[str]:
    """One line for each problem: the key, what is wrong with it, and what would be right.

    `model` is what was validated; `prefix` is where in the config it stands.
    """
    at: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for problem in error.errors():
        at.setdefault(_without_branch(problem["loc"]), []).append(dict(problem))
    return [_sentence(path, problems, model, tuple(prefix)) for path, problems in at.items()]


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at the known name that `name` may have been meant as, and the list of all."""
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}Known: {', '.join(known)}" if known else "there are none"


def _sentence(
    path: tuple[Any, ...], problems: list[dict[str, Any]], model: type[BaseModel], prefix: tuple[str, ...]
) -> str:
    problem, *others = problems
    key = ".".join((*prefix, *map(str, _without_tag(path)))) or "config"
    given = problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            owner = _model_at(path[:-1], model)
            return f"{key}: unknown key; {nearest(str(path[-1]), list(owner.model_fields))}"
        case "missing":
            return f"{key}: is missing"
        case "union_tag_invalid":
            tag = problem["ctx"]["tag"]
            return f"{key}.type: unknown type {tag!r}; {nearest(tag, list(LOCUS_TYPES))}"
        case "union_tag_not_found":
            return f"{key}: has no type; {nearest('', list(LOCUS_TYPES))}"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{key}: should be a mapping of keys to values, not {given!r}"
        case "too_short":
            return f"{key}: is empty"
    if others:
        kinds = dict.fromkeys(one["msg"].removeprefix("Input should be a valid ") for one in problems)
        return f"{key}: value should be a {' or '.join(kinds)}, not {given!r}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{key}: {message.replace('input', 'value')}, not {given!r}"


def _without_branch(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cut off where pydantic goes on with the alternatives of a value instead of keys of the config."""
    ends = (i for i, step in enumerate(path) if i > 0 and (step in _KINDS or "[" in str(step)))
    end = next((i for i in ends if not (path[:2] == ("search", "loci") and i == 3)), len(path))
    return path[:end]


def _without_tag(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Drop the locus' type, which pydantic puts into the path of a discriminated union."""
    if path[:2] == ("search", "loci") and len(path) > 3:
        return (*path[:3], *path[4:])
    return path


def _model_at(path: tuple[Any, ...], model: type[BaseModel]) -> type[BaseModel]:
    if path[:2] == ("search", "loci") and len(path) == 4:
        return LOCUS_TYPES[path[3]]
    for step in path:
        inner = model.model_fields[str(step)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return model
