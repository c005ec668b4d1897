"""Which device a worker process uses."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from workers.devices import Claim, claim, visible_devices

CLAIMANT = """\
import sys
from pathlib import Path
from workers.devices import claim
sys.stdin.readline()
found = claim(sys.argv[2:], Path(sys.argv[1]))
print(found.device, found.problem or "", sep="|", flush=True)
sys.stdin.readline()
"""


class Claimant:
    """Another process that claims when it is told, and holds what it got until it is ended."""

    def __init__(self, directory: Path, *visible: str) -> None:
        command = [sys.executable, "-c", CLAIMANT, str(directory), *visible]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")

    def answer(self) -> tuple[str, str]:
        assert self.process.stdout
        device, _, problem = self.process.stdout.readline().strip().partition("|")
        return device, problem

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.communicate("end\n")
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()


@contextmanager
def claimants(directory: Path, count: int, *visible: str) -> Iterator[list[Claimant]]:
    found = [Claimant(directory, *visible) for _ in range(count)]
    try:
        yield found
    finally:
        for claimant in found:
            claimant.end()


@pytest.fixture
def held() -> Iterator[list[Claim]]:
    """Claims of this process, which are ended with the test instead of with the process."""
    claims: list[Claim] = []
    yield claims
    for one in claims:
        if one.descriptor >= 0:
            os.close(one.descriptor)


def test_two_processes_never_share_a_device_while_both_live(tmp_path: Path, held: list[Claim]) -> None:
    with claimants(tmp_path, 1, "0", "1") as (other,):
        other.go()
        assert other.answer() == ("0", "")
        held.append(claim(["0", "1"], tmp_path))
        assert (held[0].device, held[0].problem) == ("1", None)


def test_of_many_processes_that_claim_at_once_each_has_a_device_of_its_own_or_is_told_why_not(
    tmp_path: Path,
) -> None:
    with claimants(tmp_path, 5, "0", "1", "2") as all_of_them:
        for one in all_of_them:
            one.go()
        answers = sorted(one.answer() for one in all_of_them)
    assert [device for device, _ in answers] == ["0", "1", "2", "none", "none"]
    for device, problem in answers:
        assert ("(0, 1, 2) are taken" in problem) == (device == "none")


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "ended"])
def test_a_claim_ends_with_its_process(tmp_path: Path, held: list[Claim], kill: bool) -> None:
    with claimants(tmp_path, 1, "GPU-5a/b") as (other,):
        other.go()
        assert other.answer()[0] == "GPU-5a/b"
        assert claim(["GPU-5a/b"], tmp_path).device == "none"
        if kill:
            other.process.kill()
            other.process.wait()
        else:
            other.end()
        held.append(claim(["GPU-5a/b"], tmp_path))
        assert held[0].device == "GPU-5a/b"


def test_a_claim_does_not_end_before_its_process_though_nothing_refers_to_it(
    tmp_path: Path, held: list[Claim]
) -> None:
    descriptor = claim(["0"], tmp_path).descriptor
    held.append(Claim("0", descriptor=descriptor))
    gc.collect()
    with claimants(tmp_path, 1, "0") as (other,):
        other.go()
        assert other.answer()[0] == "none"


def test_a_claim_is_not_inherited_by_the_programs_that_its_process_starts(tmp_path: Path) -> None:
    descriptor = claim(["0"], tmp_path).descriptor
    program = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    os.close(descriptor)
    again = claim(["0"], tmp_path)
    program.communicate()
    assert again.device == "0"
    os.close(again.descriptor)


def test_without_a_visible_device_it_is_the_cpu_and_no_problem(tmp_path: Path) -> None:
    assert claim([], tmp_path) == Claim("cpu")
    assert list(tmp_path.iterdir()) == []


def test_where_all_devices_are_taken_the_problem_names_them_and_says_what_to_do(
    tmp_path: Path, held: list[Claim]
) -> None:
    held += [claim(["0", "1"], tmp_path) for _ in range(2)]
    without = claim(["0", "1"], tmp_path)
    assert without == Claim(
        "none", "all devices (0, 1) are taken by other workers: start one worker a device"
    )


def test_by_default_all_workers_of_a_user_on_a_node_meet_in_one_directory(
    nothing_left_behind: Path, held: list[Claim]
) -> None:
    held += [claim(["0"]), claim(["0"])]
    assert [one.device for one in held] == ["0", "none"]
    (directory,) = nothing_left_behind.iterdir()
    assert directory.name == f"evodevo-devices-{os.getuid()}"
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


@pytest.mark.parametrize(
    ("listed", "devices"),
    [
        ("", []),
        (" ", []),
        ("-1", []),
        ("0", ["0"]),
        ("0,1", ["0", "1"]),
        (" 3 , 1,", ["3", "1"]),
        ("GPU-8f2e,GPU-77aa", ["GPU-8f2e", "GPU-77aa"]),
        ("MIG-GPU-8f2e/1/0", ["MIG-GPU-8f2e/1/0"]),
        pytest.param("0,-1,1", ["0"]),
    ],
)
def test_the_visible_devices_are_those_that_cuda_visible_devices_lists(
    monkeypatch: pytest.MonkeyPatch, listed: str, devices: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_devices() == devices


@pytest.mark.parametrize("count", [0, 1, 3])
def test_where_cuda_visible_devices_is_not_set_all_devices_are_visible(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == [str(number) for number in range(count)]
