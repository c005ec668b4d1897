"""Environment variables: the code reads only those listed here, and no value of theirs gives a traceback."""

import ast
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from evodevo.errors import UsageError
from evodevo.service import machine, slurm
from evodevo.service.gate import Gate
from tests.golden import raises_golden
from workers import departure, devices, gpus

REPOSITORY = Path(__file__).resolve().parents[1]
PREFIXES = ("CUDA_", "EVODEVO_", "HIP_", "OMP_", "PYTHON", "ROCR_", "SLURM_")
"""What the names begin with that the code reads, but for those that it only sets for libraries."""
BAD = ("soon", "-1", "nan", "1e999", "0x10", ",", " ", "99999999999999999999", "\udcff")
"""Values that a shell can pass by mistake; the last is a byte that is not UTF-8."""


def _claim(directory: Path) -> None:
    devices.claim([], directory, per_device=None)
    if (claim := devices.claim(["0"], directory)).descriptor >= 0:
        os.close(claim.descriptor)


READERS: dict[str, Callable[[Path], object]] = {
    "CUDA_VISIBLE_DEVICES": lambda _: (devices.visible_devices(), machine.visible_gpus()),
    "EVODEVO_ENDS_AT": lambda _: departure.ends_at(),
    "EVODEVO_PAGE_TOKEN": lambda _: Gate(os.environ["EVODEVO_PAGE_TOKEN"]).hear("another", "somewhere"),
    "EVODEVO_WORKERS_PER_DEVICE": _claim,
    "HIP_VISIBLE_DEVICES": lambda _: devices.visible_devices(),
    "ROCR_VISIBLE_DEVICES": lambda _: devices.identities(["0", "1"], os.environ),
    "SLURM_CONF": lambda _: slurm._why_no_slurm(),
    "SLURM_JOB_END_TIME": lambda _: departure.ends_at(),
    "SLURM_JOB_GPUS": lambda _: devices.identities(["0", "1"], os.environ),
    "SLURM_STEP_GPUS": lambda _: devices.identities(["0", "1"], os.environ),
}
"""What interprets a variable."""
TEXT = {"OMP_NUM_THREADS", "PYTHONHASHSEED", "PYTHONPATH", "PYTHONSAFEPATH", "SLURM_JOB_ID"}
"""Variables whose values the code does not interpret."""


def _literals(package: str) -> Iterator[str]:
    for path in (REPOSITORY / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_variable_that_the_code_names_is_tested_here() -> None:
    names = {
        text
        for package in ("evodevo", "workers")
        for text in _literals(package)
        if text.startswith(PREFIXES) and text.isidentifier() and text.isupper()
    }
    assert names == READERS.keys() | TEXT


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", READERS)
def test_a_value_that_makes_no_sense_is_refused_in_words_or_does_no_harm(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in READERS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(slurm.shutil, "which", lambda program: program)
    monkeypatch.setattr(gpus, "uuids", list)
    if name.startswith(("HIP", "ROCR")):
        monkeypatch.setattr(torch.version, "hip", "6.0")
    try:
        READERS[name](tmp_path)
    except UsageError as why:
        assert name in str(why)


@pytest.mark.parametrize("value", ["soon", "nan", "1e999"])
@pytest.mark.parametrize("name", ["EVODEVO_ENDS_AT", "SLURM_JOB_END_TIME"])
def test_an_end_that_is_not_a_time_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVODEVO_ENDS_AT", raising=False)
    monkeypatch.setenv(name, value)
    with raises_golden("environment/not-a-time", UsageError, variable=name, value=value):
        departure.ends_at()
