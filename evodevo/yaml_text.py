"""Read and write YAML: plain data, with 1e-4 as a number, 12:00:00 as text, and duplicate keys refused."""

import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from evodevo.errors import UsageError

_FLOAT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")
_CLOCK = re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?$")
_MERGE = "tag:yaml.org,2002:merge"


MOST_BYTES = 4 << 20
"""Limit of a file's size, at which reading takes about ten seconds; no config needs more."""
MOST_VALUES = 200_000
"""Limit for a text with aliases (`*name`) and merges (`<<`) expanded: a few lines can stand for billions."""
LARGEST_INT = 10**308


class _Loader(yaml.SafeLoader):
    """A loader for safe YAML 1.1 with the floats of YAML 1.2; 12:00:00 is text, not 43200.

    Errors while a value is constructed become a `ConstructorError` with its position.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            text = repr(node.value[:40]) if isinstance(node.value, str) else "this"
            why = f"{text} is not a valid {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, why, node.start_mark) from None


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes text which `_Loader` would read as a float, and writes no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Return the node of a text; U+0085 in single quotes would be read as a line feed."""
        style = '"' if "\x85" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


def read(path: Path, example: str) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises `UsageError`, naming an example, if it has none."""
    return mapping(text_of(path), path, example)


def text_of(path: Path) -> str:
    """Return the text of a YAML file. Raises `UsageError` if it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file (from {os.getcwd()})") from None
    except UnicodeDecodeError as why:
        raise UsageError(f"{path}: is not text: {why}") from None
    except OSError as why:
        raise UsageError(f"{path}: cannot be read: {why.strerror}") from None
    except ValueError as why:  # an invalid file name
        raise UsageError(f"{path}: cannot be read: {why}") from None
    if len(text) > MOST_BYTES:
        raise UsageError(f"{path}: is larger than {MOST_BYTES >> 20} MiB; give a smaller file")
    return text


def mapping(text: str, path: Path, example: str) -> dict[str, Any]:
    """Return the mapping in the text of a file. Raises `UsageError`, naming the file and an example."""
    try:
        data = load(text)
    except ValueError as why:
        raise UsageError(f"{path}: is not YAML: {why}") from None
    if data is None:
        raise UsageError(f"{path}: is empty; see {example} for an example")
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise UsageError(f"{path}: should be a mapping of names, not {kind}; see {example} for an example")
    return data


def load(text: str) -> Any:
    """Return the data in a YAML text. Raises `ValueError` with one line that gives the position."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _written_out(node, {}) > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} values with its aliases expanded")
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as why:
        mark = why.problem_mark or why.context_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{why.problem or why.context}{where}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.YAMLError as why:
        raise ValueError(" ".join(str(why).split())) from None


def dump(data: Any, **style: Any) -> str:
    """Return a YAML text from which `load` returns the same data, with keys in their order."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **style)
    return text


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return `text`, a mapping of names to values, with `values` instead of its own; comments stay.

    Entries that `values` lacks are removed with their lines, and new names are appended. If the result does
    not load as `values`, as with aliases or a mapping in braces, return `dump(values)`.
    """
    try:
        made = _with_values(text, dict(values))
        return made if load(made) == values else dump(dict(values))
    except (yaml.YAMLError, ValueError):
        return dump(dict(values))


def _with_values(text: str, values: dict[str, Any]) -> str:
    root = _Loader(text).get_single_node()
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("is not a mapping")
    parts, at = [], 0
    for key, value in root.value:
        begin, end = value.start_mark.index, value.end_mark.index
        if key.value in values:
            parts += [text[at:begin], dump([values.pop(key.value)], default_flow_style=True).strip()[1:-1]]
        else:
            begin = text.rfind("\n", 0, key.start_mark.index) + 1
            parts.append(text[at:begin])
            end = text.find("\n", end) + 1 or len(text)
        at = end
    made = "".join([*parts, text[at:]])
    return made + ("" if made.endswith("\n") else "\n") + (dump(values) if values else "")


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values at and below a node with aliases expanded; a node within itself counts once."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = 1
        parts = (
            node.value
            if isinstance(node, yaml.SequenceNode)
            else [one for pair in node.value for one in pair]
        )
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


def _int_of_a_size(loader: _Loader, node: yaml.ScalarNode) -> int:
    value: int = loader.construct_yaml_int(node)
    if abs(value) > LARGEST_INT:
        raise yaml.constructor.ConstructorError(
            None, None, "a whole number has more than 308 digits", node.start_mark
        )
    return value


def _mapping_without_repeats(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True) if key_node.tag != _MERGE else key_node
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key should be text", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} appears twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)
_Loader.add_constructor("tag:yaml.org,2002:int", _int_of_a_size)
_Dumper.add_representer(str, _Dumper.represent_str)
for _either in (_Loader, _Dumper):
    _either.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
for _first in "-+0123456789":
    _Loader.yaml_implicit_resolvers[_first].insert(0, ("tag:yaml.org,2002:str", _CLOCK))
