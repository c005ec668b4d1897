"""The file of a config: read, with what `--set` says over it, and with what it names in other files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evodevo import yaml_text
from evodevo.config import RunConfig, parse
from evodevo.errors import UsageError
from evodevo.evolution.hyp import KNOWN, loci_of
from evodevo.evolution.strategies import find

LONGEST_HYP = 50_000
"""Characters of a hyp.yaml whose comments are kept; a run has its text in its journal."""


def load(path: Path | str, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read the config at `path`, set `overrides` (dotted key -> value) over it, and validate it.

    Relative paths in `search.hyp`, `search.start.run`, `data.root` and `checkpoints.url` are taken from the
    current directory; the last three are made absolute, as workers stand elsewhere. Raises `UsageError`.
    """
    return read(yaml_text.read(Path(path), "configs/quickstart.yaml"), overrides, str(path))


def read(
    data: dict[str, Any], overrides: Mapping[str, Any] | None = None, source: str = "config"
) -> RunConfig:
    """The same of the data that such a file has, which are changed. Raises `UsageError`."""
    for key, value in (overrides or {}).items():
        _set(data, key, value)
    given = data.get("phases")
    for one in [data, *(one for one in (given if isinstance(given, list) else []) if isinstance(one, dict))]:
        _resolve(one)
    return parse(data, source)


def _resolve(data: dict[str, Any]) -> None:
    """Put in what sections name in other files, and make paths absolute."""
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
    """The path in a text, `~` and `~user` expanded. Raises `UsageError` if it cannot be one."""
    if "\0" in text:
        raise UsageError(f"{key}: {text!r} has a NUL character in it, which no path can have")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{key}: {text}: no such user, or that user has no home directory") from None


def parse_override(text: str) -> tuple[str, Any]:
    """Split `key=value` of `--set`, the value being YAML. Raises `UsageError`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {text!r}: should have the form key=value, such as search.population=8")
    try:
        return key, yaml_text.load(value)
    except ValueError as why:
        raise UsageError(f"--set {text!r}: the value is not YAML: {why}") from None


def _read_hyp(data: dict[str, Any]) -> None:
    """Put the loci of `search.hyp`, a hyp.yaml of YOLOv5's, beside those that are given, which go first."""
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
    """Whether the strategy of that name or import path has an option `gains`; one that is none has not."""
    try:
        return "gains" in find(strategy).Options.model_fields
    except (ValueError, TypeError, AttributeError):  # what is wrong with it is said with all the rest
        return False


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; `phases.NAME` is the phase of that name."""
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
        known = ", ".join(names) or "there are none"
        raise UsageError(f"--set {key}: should have the form phases.NAME.section.key=value; names: {known}")
    return phases[names.index(parts[1])]


def _section(data: dict[str, Any], name: str, within: str = "") -> dict[str, Any]:
    """The section of that name, made where there is none. Raises `UsageError` for what is no section."""
    inner = data.setdefault(name, {})
    if not isinstance(inner, dict):
        raise UsageError(f"{within}{name} is {inner!r}, not a section with keys")
    return inner
