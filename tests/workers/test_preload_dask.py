"""Dask leaves the generator that members draw from alone."""

import random
import sys

import dask.sizeof  # noqa: F401
import pytest

from workers.preload import leave_global_generator


def test_dask_measures_a_message_without_the_generator_that_members_draw_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As an attribute `dask.sizeof` is a function, so the module is imported by name."""
    module = sys.modules["dask.sizeof"]
    monkeypatch.setattr(module, "random", random)
    leave_global_generator()
    before = random.getstate()
    assert module.sizeof({number: str(number) for number in range(100)}) > 0
    assert random.getstate() == before
