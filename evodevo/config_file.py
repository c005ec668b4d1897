"""Read a config from its file, with the values of `--set` and the files that it names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evodevo import yaml_text
from evodevo.config import RunConfig, parse
from evodevo.errors import UsageError
from evodevo.evolution.hyp import KNOWN, loci_of
from evodevo.evolution.strategies import find

LONGEST_HYP = 50_000
"""Characters; the journal keeps the text of a hyp.yaml up to this length, with its comments."""


def load(path: Path | str, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read the config at `path`, apply `overrides` (dotted key -> value), and validate it.

    Relative paths in `search.hyp`, `search.start.run`, `data.root` and `checkpoints.url` are relative to the
    current directory; the last three are made absolute, as workers may have another one. Raises `UsageError`.
    """
    return read(yaml_text.read(Path(path), "configs/quickstart.yaml"), overrides, str(path))


def read(
    data: dict[str, Any], overrides: Mapping[str, Any] | None = None, source: str = "config"
) -> RunConfig:
    """Validate the data of a config file like `load`; changes `data`. Raises `UsageError`."""
    for key, value in (overrides or {}).items():
        _set(data, key, value)
    given = data.get("phases")
    for one in [data, *(one for one in (given if isinstance(given, list) else []) if isinstance(one, dict))]:
        _resolve(one)
    return parse(data, source)


def _resolve(data: dict[str, Any]) -> None:
    """Insert the contents of files that sections name, and make paths absolute."""
    _read_hyp(data)
    for section, key in (("data", "root"), ("checkpoints", "url")):
        inner = data.get(section)
        value = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and isinstance(value, str) and "://" not in value:
            inner[key] = str(_path(f"{section}.{key}", value).absolute())
    search = data.get("search")
    start = search.get("start") if isinstance(search, dict) else None
    if isinstance(start, dict) and isinstance(run := start.get("run"), str) and "/" in run:
        start["run"] = str(_path("search.start.run", run).absolute())


def _path(key: str, text: str) -> Path:
    """Return a text as a path, with `~` and `~user` expanded. Raises `UsageError`."""
    if "\0" in text:
        raise UsageError(f"{key}: {text!r} contains a NUL character; remove it")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{key}: {text}: no such user, or that user has no home directory") from None


def parse_override(text: str) -> tuple[str, Any]:
    """Split `key=value` of `--set`; the value is YAML. Raises `UsageError`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {text!r}: should have the form key=value, such as search.population=8")
    try:
        return key, yaml_text.load(value)
    except ValueError as why:
        raise UsageError(f"--set {text!r}: the value is not YAML: {why}") from None


def _read_hyp(data: dict[str, Any]) -> None:
    """Add the loci of `search.hyp`, a hyp.yaml as in YOLOv5; loci that are given directly take precedence."""
    search = data.get("search")
    if not isinstance(search, dict) or search.get("hyp") is None:
        return
    name = search.pop("hyp")
    if not isinstance(name, str) or not name:
        raise UsageError(f"search.hyp: should be the path of a hyp.yaml, not {name!r}")
    path = _path("search.hyp", name)
    given = _section(search, "loci", "search.")
    text = yaml_text.text_of(path)
    read = yaml_text.mapping(text, path, "configs/hyp.yaml")
    values = {name: value for name, value in read.items() if name in KNOWN or name not in given}
    has_gains = _has_gains(search.get("strategy"))
    chosen = _section(_section(search, "options", "search."), "gains", "search.options.") if has_gains else {}
    try:
        loci, gains = loci_of(values, chosen)
    except ValueError as why:
        raise UsageError(f"{path}: {why}") from None
    chosen |= {name: gain for name, gain in gains.items() if name not in {*given, *chosen}}
    search["loci"] = {**loci, **given}
    search["hyp_text"] = text if len(text) <= LONGEST_HYP else None


def _has_gains(strategy: Any) -> bool:
    """Return whether a strategy, given by name or import path, has an option `gains`."""
    try:
        return "gains" in find(strategy).Options.model_fields
    except (ValueError, TypeError, AttributeError):  # validation reports it
        return False


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key, in which `phases.NAME` is the phase of that name."""
    *sections, last = key.split(".")
    if "phases" in (key, *sections[:1]):
        data, sections = _phase(data, key), sections[2:]
    for section in sections:
        try:
            data = _section(data, section)
        except UsageError as why:
            raise UsageError(f"--set {key}: {why}") from None
    data[last] = value


def _phase(data: dict[str, Any], key: str) -> dict[str, Any]:
    given = data.get("phases")
    phases = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    names = [str(one.get("name")) for one in phases]
    parts = key.split(".")
    if len(parts) < 4 or parts[1] not in names:
        known = ", ".join(names) or "none"
        raise UsageError(f"--set {key}: should have the form phases.NAME.section.key=value; names: {known}")
    return phases[names.index(parts[1])]


def _section(data: dict[str, Any], name: str, within: str = "") -> dict[str, Any]:
    """Return a section, created if missing. Raises `UsageError` if its value is not a mapping."""
    inner = data.setdefault(name, {})
    if not isinstance(inner, dict):
        raise UsageError(f"{within}{name} is {inner!r}, not a section with keys")
    return inner
