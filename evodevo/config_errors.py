"""Turn pydantic's errors into sentences for the author of a config."""

from collections.abc import Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from evodevo.evolution.space import Locus
from evodevo.evolution.strategies.scheduled import Shape

Path = tuple[Any, ...]
Kinds = dict[str, type[BaseModel]]


def _kinds(union: Any, tag: str) -> Kinds:
    models = get_args(get_args(union)[0])
    return {model.model_fields[tag].annotation.__args__[0]: model for model in models}


TAGGED: dict[Path, tuple[str, Kinds]] = {
    ("search", "loci"): ("type", _kinds(Locus, "type")),
    ("search", "options", "schedule"): ("shape", _kinds(Shape, "shape")),
}
"""Mappings whose values are of several kinds: the key that selects the kind, and the kinds."""
FEW = 5
"""Names that are listed even if one of them is suggested."""
_KINDS = ("str", "int", "float", "bool")


def describe(error: ValidationError, model: type[BaseModel], prefix: Sequence[str] = ()) -> list[str]:
    """Return one line per problem: the key, what is wrong with it, and what would be valid.

    `model` is what was validated; `prefix` is its position in the config.
    """
    at: dict[Path, list[dict[str, Any]]] = {}
    for problem in error.errors():
        at.setdefault(_without_branch(problem["loc"], tuple(prefix)), []).append(dict(problem))
    return [_sentence(path, problems, model, tuple(prefix)) for path, problems in at.items()]


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint: the known name closest to `name`, and all of them if they are few or none is close."""
    if not known:
        return "none are known"
    names = ", ".join(known)
    if near := get_close_matches(name, known, n=1):
        return f"did you mean {near[0]}?{f' Known: {names}' if len(known) <= FEW else ''}"
    return f"known: {names}"


def _sentence(path: Path, problems: list[dict[str, Any]], model: type[BaseModel], prefix: Path) -> str:
    problem, *others = problems
    whole = (*prefix, *path)
    key = ".".join(map(str, _without_tag(whole))) or "config"
    given = problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            owner = _owner(path[:-1], model, prefix)
            return f"{key}: unknown key; {nearest(str(path[-1]), list(owner.model_fields))}"
        case "missing":
            return f"{key}: is missing"
        case "union_tag_invalid":
            name, kinds = TAGGED[whole[:-1]]
            tag = problem["ctx"]["tag"]
            return f"{key}.{name}: unknown {name} {tag!r}; {nearest(tag, list(kinds))}"
        case "union_tag_not_found":
            name, kinds = TAGGED[whole[:-1]]
            return f"{key}: {name} is missing; {nearest('', list(kinds))}"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{key}: should be a mapping of keys to values, not {given!r}"
        case "too_short":
            return f"{key}: is empty"
    if others:
        valid = dict.fromkeys(one["msg"].removeprefix("Input should be a valid ") for one in problems)
        return f"{key}: value should be a {' or '.join(valid)}, not {given!r}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{key}: {message.replace('input', 'value')}, not {given!r}"


def _tag_at(whole: Path) -> int | None:
    """Return the position in a path at which pydantic has put the kind of a value, if any."""
    return next((len(at) + 1 for at in TAGGED if whole[: len(at)] == at and len(whole) > len(at) + 1), None)


def _without_branch(path: Path, prefix: Path) -> Path:
    """Cut off the steps with which pydantic names alternatives of a value, which are not keys."""
    tag = _tag_at((*prefix, *path))
    ends = (i for i, step in enumerate(path) if i > 0 and (step in _KINDS or "[" in str(step)))
    end = next((i for i in ends if tag is None or i + len(prefix) != tag), len(path))
    return path[:end]


def _without_tag(whole: Path) -> Path:
    tag = _tag_at(whole)
    return whole if tag is None else (*whole[:tag], *whole[tag + 1 :])


def _owner(path: Path, model: type[BaseModel], prefix: Path) -> type[BaseModel]:
    """Return the model that has the keys below `path`."""
    whole = (*prefix, *path)
    tag = _tag_at(whole)
    if tag is not None:
        return TAGGED[whole[: tag - 1]][1][whole[tag]]
    for step in path:
        if isinstance(step, int):  # an index; the model is that of the elements already
            continue
        annotation = model.model_fields[str(step)].annotation
        kinds = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
        single = (get_args(kind)[0] if get_origin(kind) is list else kind for kind in kinds)
        inner = [kind for kind in single if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            break
        model = inner[0]
    return model
