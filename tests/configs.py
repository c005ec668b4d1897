"""A small valid config, ways to spoil it, and the judgement that the tests of configs share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from evodevo.config import RunConfig
from evodevo.config_file import load
from evodevo.errors import UsageError

QUICKSTART = Path(__file__).resolve().parents[1] / "configs" / "quickstart.yaml"


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"  # the same in every process that names a test after it


ABSENT = _Absent()
SMALL = """\
run: {name: small, seed: 7}
workload:
  use: workers.workloads.lenet:LeNet
  options: {batch_size: 50}
objective: {metric: validation_loss, mode: min}
search:
  population: 4
  generations: 2
  judge: raw
  recombine: null
  soup: false
  options: {sigma: 5.0, initial: spread}
  loci:
    rate: {type: float, low: 1.0e-4, high: 1.0, scale: log, initial: 0.02}
    layers: {type: int, low: 1, high: 6, initial: 3}
    optimizer: {type: choice, choices: [adam, sgd], initial: adam}
    momentum: {type: float, low: 0.5, high: 0.99, initial: 0.9, when: {optimizer: sgd}}
"""


def small(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return SMALL as data with dotted keys set, or removed if the value is ABSENT."""
    data: dict[str, Any] = yaml.safe_load(SMALL)
    for key, value in (changes or {}).items():
        *sections, last = key.split(".")
        inner = data
        for section in sections:
            inner = inner.setdefault(section, {})
        if value is ABSENT:
            del inner[last]
        else:
            inner[last] = value
    return data


def complaint(bad: Callable[[], Any]) -> str:
    """Return the message of the `UsageError` that `bad` raises."""
    with pytest.raises(UsageError) as raised:
        bad()
    return str(raised.value)


def load_text(folder: Path, text: str | bytes, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Return the config of a file that contains `text`."""
    path = folder / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, overrides)
