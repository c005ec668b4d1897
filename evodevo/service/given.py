"""Read a config given in Python: a path, a `RunConfig`, or data with numpy's numbers and classes in it."""

import operator
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from evodevo import config_file, fresh
from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.service.importable import import_path, label_of

Given = RunConfig | Mapping[str, Any] | Path | str
DEEPEST = 50
"""Levels of lists and dicts in a config; beyond them a value is taken to contain itself."""


def config_of(given: Given, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Return the config that the command line would read from a file with the same content.

    `overrides` map dotted keys to values, as with `--set`. If the strategy's module was edited, it is
    imported again. Raises `UsageError`.
    """
    wanted = {key: plain(value, key) for key, value in (overrides or {}).items()}
    if isinstance(given, RunConfig) and not wanted:
        return given
    if isinstance(given, str | Path):
        fresh.refresh(_strategies(wanted))
        config = config_file.load(given, wanted)
        if fresh.refresh(config.search.strategy):
            config = config_file.load(given, wanted)
    elif isinstance(given, RunConfig | Mapping):
        data = plain(given.to_json() if isinstance(given, RunConfig) else given, "")
        fresh.refresh([*_strategies(wanted), *_strategies(data)])
        config = config_file.read(data, wanted)
    else:
        raise UsageError(f"a config is a dict, a RunConfig or the path of a YAML file, not {given!r}")
    fresh.remember(config.search.strategy)
    return config


def _strategies(data: Mapping[str, Any]) -> list[Any]:
    search = data.get("search")
    return [data.get("search.strategy"), search.get("strategy") if isinstance(search, dict) else None]


def plain(value: Any, key: str, level: int = 0) -> Any:
    """Convert a value to plain data as in YAML; a class or function becomes its import path.

    Raises `UsageError`, naming the key, for a value that contains itself and for a class or function that
    workers cannot import. `level` counts the lists and dicts around the value.
    """
    if level > DEEPEST:
        raise UsageError(
            f"{_beginning(key)}: nested more than {DEEPEST} levels deep, or contains itself; "
            "give numbers, text, and lists and dicts of them"
        )
    if isinstance(value, Mapping):
        return {
            _name(name): plain(one, f"{key}.{name}" if key else str(name), level + 1)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(one, key, level + 1) for one in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    for kind in (str, int, float):  # subclasses, such as numpy's float64 and enums
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, PathLike):
        return fspath(value)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, type) or callable(value):
        return _path_of(value, key)
    raise UsageError(f"{key}: {value!r} is not a number, string, list or dict")


def _beginning(key: str) -> str:
    """Return the first parts of a dotted key."""
    parts = key.split(".")
    return ".".join([*parts[:3], "..."] if len(parts) > 4 else parts)


def _name(name: Any) -> Any:
    return str(name) if isinstance(name, str) else name


def _path_of(value: Any, key: str) -> str:
    path = import_path(value)
    if path is None:
        raise UsageError(unimportable(label_of(value), key))
    return path


def unimportable(label: str, key: str) -> str:
    """Return the message for something defined in a notebook's cell, a script or a function."""
    return (
        f"{key}: {label!r} was defined in a notebook, a script or a function, from which workers cannot "
        f"import it: write it to a file (in a notebook, begin the cell with %%writefile mine.py) and give "
        f'"mine:{label.rpartition(".")[2]}"'
    )


def refuse_main(config: RunConfig) -> None:
    """Raise `UsageError` if a config names something in `__main__`, which workers do not have."""
    for key, path in (("workload.use", config.workload.use), ("search.strategy", config.search.strategy)):
        if isinstance(path, str) and path.startswith("__main__:"):
            raise UsageError(unimportable(path.partition(":")[2], key))


def count_of(name: str, given: Any, instead: str = "") -> int:
    """Return a count as an int; it may be numpy's. Raises `UsageError` if it is not 1 or more."""
    try:
        count = operator.index(given)
    except TypeError:
        raise UsageError(f"{name} is {given!r}; give a whole number{instead}") from None
    if count < 1:
        raise UsageError(f"{name} is {count}; give 1 or more{instead}")
    return count
