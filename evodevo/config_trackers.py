"""Read the trackers of a config: a list of names, some with options, or a mapping."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from evodevo.config_values import Plain


def _by_name(value: Any) -> Any:
    """Return the options of each tracker by its name. Raises `ValueError`."""
    if isinstance(value, Mapping):
        return {name: {} if options is None else options for name, options in value.items()}
    if isinstance(value, str):
        return {value: {}}
    if not isinstance(value, list):
        raise ValueError(
            f"{value!r} should be a list of trackers, such as [tensorboard, {{mlflow: {{uri: ...}}}}]"
        )
    found: dict[Any, Any] = {}
    for entry in value:
        if not isinstance(entry, str | Mapping) or (isinstance(entry, Mapping) and len(entry) != 1):
            raise ValueError(f"{entry!r} should be the name of a tracker, or {{name: {{option: value}}}}")
        named = _by_name(entry)
        if found.keys() & named.keys():
            raise ValueError(f"{next(iter(named))!r} appears twice; remove one")
        found |= named
    return found


Trackers = Annotated[dict[str, Plain], BeforeValidator(_by_name)]
"""The options of each tracker, by its name."""
