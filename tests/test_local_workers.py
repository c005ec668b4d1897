"""How many workers the command line gives a cluster of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import evodevo
from configs import small
from evodevo import cli_common
from evodevo.cli_common import Where, client_of
from evodevo.config import RunConfig, parse
from evodevo.errors import UsageError
from evodevo.service import machine
from tests.golden import raises_golden


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many workers each cluster got, on a machine with room for 16 members of one thread."""
    found: list[int] = []

    @contextmanager
    def local(workers: int, runs_dir: str, per_device: int) -> Iterator[Any]:
        found.append(workers)
        yield SimpleNamespace()

    monkeypatch.setattr(cli_common, "local", local)
    monkeypatch.setattr(machine, "room_for_workers", lambda threads, per_device: 16 // threads * per_device)
    return found


def config_of(**changes: Any) -> RunConfig:
    return parse(small({key.replace("__", "."): value for key, value in changes.items()}))


@pytest.mark.parametrize(
    ("changes", "runs", "workers"),
    [
        ({"search__population": 4}, 1, 4),
        ({"search__population": 40}, 1, 16),
        ({"search__population": 4}, 3, 12),
        ({"search__population": 40, "cluster": {"threads_per_member": 4}}, 1, 4),
        ({"search__population": 4, "cluster": {"workers": 6}}, 1, 6),
        ({"search__population": 40, "cluster": {"workers_per_device": 2}}, 1, 32),
        ({"search__population": 4, "cluster": {"workers": "auto"}}, 1, 4),
        ({"search__population": 4, "cluster": {"workers_per_member": 2}}, 1, 8),
        ({"search__population": 40, "cluster": {"workers_per_member": 2}}, 1, 16),
    ],
)
def test_there_are_as_many_as_have_room_but_not_more_than_members_unless_the_config_says_so(
    changes: dict[str, Any], runs: int, workers: int, started: list[int]
) -> None:
    with client_of(Where(), "runs", config_of(**changes), runs):
        assert started == [workers]


def test_members_of_a_steady_run_are_trained_at_once_too(started: list[int]) -> None:
    search = {"strategy": "mutate_best", "generations": 9, "loci": small()["search"]["loci"]}
    config = config_of(search=search)
    with client_of(Where(), "runs", config):
        assert started == [9]


def test_the_command_line_goes_before_the_config(started: list[int]) -> None:
    with client_of(Where(workers=3), "runs", config_of(cluster={"workers": 6})):
        assert started == [3]


def test_a_cluster_without_workers_is_refused(tmp_path: Path) -> None:
    with raises_golden("local/no-workers", UsageError), evodevo.local(0, tmp_path):
        pass


@pytest.mark.parametrize("where", [Where(), Where(workers=2)])
def test_fewer_than_a_member_needs_are_refused(where: Where, started: list[int]) -> None:
    config = config_of(cluster={"workers": 3, "workers_per_member": 5})
    with (
        pytest.raises(
            UsageError, match=r"is 5, and the local cluster would have .* give --workers 5 or more"
        ),
        client_of(where, "runs", config),
    ):
        pass
    assert started == []
