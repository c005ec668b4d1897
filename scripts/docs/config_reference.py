"""Write docs/config.md, the reference of every key of a config, from the models that validate configs.

    python scripts/docs/config_reference.py          # write it
    python scripts/docs/config_reference.py --check  # exit with 1 if it is out of date

The meaning of a key is the docstring below its field; constraints are the field's.
"""

import argparse
import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typing_extensions import TypeAliasType

from evodevo.config import Arm, RunConfig
from evodevo.config_errors import TAGGED
from evodevo.config_values import Seconds
from evodevo.evolution.strategies import STRATEGIES

PAGE = Path(__file__).parents[2] / "docs" / "config.md"
HEAD = """\
# Config reference

<!-- Written by scripts/docs/config_reference.py: change the docstrings of the models instead. -->

A config is one YAML file. `evodevo check CONFIG` validates it, `--set search.population=16` overrides a key,
and the run's `config.yaml` has every key with its default filled in. Any other key is refused by name.
[The search space](space.md) explains loci, [Strategies](evolution.md) what each strategy is good for.
"""
FILLED_IN = ("Filled in by evodevo", "filled in by evodevo")
"""Keys whose docstrings say so are not for people to write."""
PLAIN = {
    NoneType: "null",
    bool: "true, false",
    int: "int",
    float: "float",
    str: "text",
    dict: "mapping",
    list: "list",
}


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if the page is out of date"
    )
    wanted = page()
    if not parser.parse_args().check:
        PAGE.write_text(wanted)
    elif PAGE.read_text() != wanted:
        print(f"{PAGE.name} is out of date: run python scripts/docs/config_reference.py", file=sys.stderr)
        return 1
    return 0


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for name, field in RunConfig.model_fields.items():
        model = _model_of(field.annotation)
        if model is None:
            if not _is_filled_in(RunConfig, name):
                parts += [f"## {name}\n", _table(RunConfig, "", only=name)]
            continue
        parts += [f"## {name}\n", _about(model), _table(model, f"{name}.")]
        if name == "compare":
            parts += ["An arm has a name and\n", _table(Arm, "compare.arms.NAME.")]
        if name == "search":
            parts += _kinds(("search", "loci"), "### search.loci\n\nEach locus has a name and a type:\n")
            parts += _strategies()
    return "\n".join(part for part in parts if part)


def _strategies() -> Iterator[str]:
    yield "### search.options\n\nThe options of each strategy; any other key is refused.\n"
    for name, kind in STRATEGIES.items():
        if name == "replay":  # of replays, which write their own configs
            continue
        yield f"#### {name}\n\n{_first_paragraph(sys.modules[kind.__module__].__doc__)}\n"
        yield _table(kind.Options, "search.options.")
    yield from _kinds(
        ("search", "options", "schedule"),
        "#### Shapes of a schedule\n\n`schedule` maps a float locus to one of:\n",
    )


def _kinds(path: tuple[str, ...], head: str) -> Iterator[str]:
    tag, models = TAGGED[path]
    yield head
    for name, model in models.items():
        yield f"##### `{tag}: {name}`\n\n{_about(model)}"
        yield _table(model, "", without=(tag,))


def _table(
    model: type[BaseModel], prefix: str, only: str | None = None, without: tuple[str, ...] = ()
) -> str:
    """Return the rows of a model's keys, those of models within it included."""
    rows = list(_rows(model, prefix, only, without))
    if not rows:
        return "It has no options.\n" if prefix == "search.options." else ""
    return "\n".join(["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _rows(model: type[BaseModel], prefix: str, only: str | None, without: tuple[str, ...]) -> Iterator[str]:
    docs = docstrings(model)
    for name, field in model.model_fields.items():
        if name in without or (only is not None and name != only) or _is_filled_in(model, name):
            continue
        key = f"{prefix}{name}"
        inner = _model_of(field.annotation)
        meaning = docs.get(name) or (_first_paragraph(inner.__doc__) if inner else "")
        cells = [f"`{key}`", _type(field), _default(field), " ".join(meaning.split())]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        if inner is not None and key != "search.loci":
            yield from _rows(inner, f"{key}.", None, ())


def _is_filled_in(model: type[BaseModel], name: str) -> bool:
    return any(words in docstrings(model).get(name, "") for words in FILLED_IN)


def _about(model: type[BaseModel]) -> str:
    own = model.__dict__.get("__doc__")
    return f"{' '.join(own.split())}\n" if own else ""


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())


@cache
def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each field of a model, its own and those that it inherits."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not (isinstance(owner, type) and issubclass(owner, BaseModel)) or owner is BaseModel:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    found[name] = inspect.cleandoc(text)
    return found


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the one model within an annotation such as `Model | None`, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        models = [model for model in map(_model_of, get_args(annotation)) if model]
        return models[0] if len(models) == 1 else None
    return None


def _type(field: FieldInfo) -> str:
    bounds = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥"}
    found = [
        f"{sign} {getattr(one, name):g}"
        for one in field.metadata
        for name, sign in bounds.items()
        if hasattr(one, name)
    ]
    return ", ".join([_name(field.annotation), *found])


def _name(annotation: Any) -> str:
    if isinstance(annotation, TypeAliasType):
        return _name(annotation.__value__)
    if annotation == Seconds:
        return "seconds > 0 or `h:mm:ss`"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is Annotated:
        return _name(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_name, inner)))
    if origin is list:
        return f"list of {_name(inner[0])}"
    if origin is dict:
        return "mapping"
    if _model_of(annotation):
        return "section"
    return PLAIN.get(annotation, "any")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = (
        field.default
        if field.default is not PydanticUndefined
        else field.get_default(call_default_factory=True)
    )
    if isinstance(default, BaseModel):
        return ""
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    sys.exit(main())
