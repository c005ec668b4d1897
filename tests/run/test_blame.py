"""Whose fault an error is."""

import errno
import os

import pytest

from evodevo.run.blame import cause_of
from evodevo.run.checkpoints import CheckpointError


@pytest.mark.parametrize(
    "code",
    [
        "ENOSPC",
        "EDQUOT",
        "EIO",
        "EROFS",
        "ESTALE",
        "ETIMEDOUT",
        "ECONNRESET",
        "EHOSTUNREACH",
        "EPIPE",
        "ENFILE",
    ],
)
def test_disks_and_networks_are_nobodys_fault(code: str) -> None:
    number = getattr(errno, code)
    assert cause_of(OSError(number, os.strerror(number))) == "disk"


@pytest.mark.parametrize("why", [CheckpointError("it is missing"), ConnectionResetError("the peer is gone")])
def test_neither_are_a_store_that_fails_and_a_connection(why: OSError) -> None:
    assert cause_of(why) == "disk"


@pytest.mark.parametrize(
    "why",
    [
        OSError("the device is on fire"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "not yours"),
        RuntimeError("it says so"),
        KeyError("it"),
    ],
)
def test_what_a_workload_may_have_raised_is_not_excused(why: Exception) -> None:
    assert cause_of(why) == "raised"


def test_a_time_limit_is_the_members_own() -> None:
    assert cause_of(TimeoutError("the epoch took longer")) == "own"
    assert cause_of(TimeoutError(errno.ETIMEDOUT, "connection timed out")) == "disk"
