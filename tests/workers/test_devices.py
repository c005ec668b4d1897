"""Which device a worker process uses."""

import errno
import fcntl
import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from evodevo.run.records import PER_DEVICE
from workers import gpus
from workers.devices import SLURM_LISTS, Claim, claim, confine, identities, visible_devices

CLAIMANT = """\
import sys
from pathlib import Path
from evodevo.run.records import PER_DEVICE
from workers import gpus
from workers.devices import claim
gpus.uuids = list  # whatever GPUs there are here
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


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The UUIDs of the GPUs that this process may open: none, whatever is here; a test may add some."""
    found: list[str] = []
    monkeypatch.setattr(gpus, "uuids", lambda: found)
    for name in (*SLURM_LISTS, PER_DEVICE, "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return found


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


def test_of_many_processes_that_claim_at_once_each_has_a_separate_device_or_is_told_why_not(
    tmp_path: Path,
) -> None:
    with claimants(tmp_path, 5, "0", "1", "2") as all_of_them:
        for one in all_of_them:
            one.go()
        answers = sorted(one.answer() for one in all_of_them)
    assert [device for device, _ in answers] == ["0", "1", "2", "none", "none"]
    for device, problem in answers:
        assert bool(re.search(r"\(0 by .*, 1 by .*, 2 by .*\) are in use", problem)) == (device == "none")


def test_a_device_has_as_many_workers_as_the_environment_says_and_each_device_its_first_one_first(
    tmp_path: Path, held: list[Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PER_DEVICE, "2")
    with claimants(tmp_path, 5, "0", "1") as all_of_them:
        answers = []
        for one in all_of_them:
            one.go()
            answers.append(one.answer())
        assert [device for device, _ in answers] == ["0", "1", "0", "1", "none"]
        first, *_ = (one.process.pid for one in all_of_them)
        assert re.search(rf"\(0 by processes {first} and \d+, 1 by processes", answers[-1][1])
        assert answers[-1][1].endswith("start 2 workers per device, or increase EVODEVO_WORKERS_PER_DEVICE")
        all_of_them[2].end()
        held.append(claim(["0", "1"], tmp_path))
        assert (held[0].device, held[0].workers, held[0].room is None) == ("0", 2, False)
        monkeypatch.delenv(PER_DEVICE)
        assert claim(["0", "1"], tmp_path).device == "none"  # one that wants it for itself does not share it


def test_the_first_worker_of_a_device_locks_the_file_that_the_only_one_would(
    tmp_path: Path, held: list[Claim]
) -> None:
    held += [claim(["GPU-5a/b"], tmp_path, per_device=2) for _ in range(2)]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"GPU-5a_b.lock", "GPU-5a_b.2.lock"} < names
    assert {name for name in names if "room" in name or "door" in name} == {
        "GPU-5a_b.room.lock",
        "GPU-5a_b.door.lock",
    }
    assert claim([], tmp_path, per_device=2) == Claim("cpu")


@pytest.mark.parametrize("said", ["0", "two", "", "-1", "1000"])
def test_what_is_not_a_number_of_workers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv(PER_DEVICE, said)
    problem = f"EVODEVO_WORKERS_PER_DEVICE should be the number of workers per GPU, 1 to 999, not {said!r}"
    assert claim(["0"], tmp_path) == Claim("none", problem)


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
    me = os.getpid()
    assert without == Claim(
        "none",
        f"all devices (0 by process {me}, 1 by process {me}) are in use by other workers: "
        "start one worker per device, or increase EVODEVO_WORKERS_PER_DEVICE",
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


def test_two_views_that_call_different_gpus_number_0_do_not_meet(
    tmp_path: Path, held: list[Claim], listed: list[str]
) -> None:
    for uuid in ("GPU-aa", "GPU-bb"):
        listed[:] = [uuid]
        held.append(claim(["0"], tmp_path))
    assert [one.device for one in held] == ["0", "0"]


def test_two_views_that_call_one_gpu_by_different_numbers_meet_and_the_uuid_and_the_holder_are_named(
    tmp_path: Path, held: list[Claim], listed: list[str]
) -> None:
    listed[:] = ["GPU-aa", "GPU-bb"]
    held.append(claim(["1"], tmp_path))
    listed[:] = ["GPU-bb"]
    without = claim(["0"], tmp_path)
    assert without.device == "none"
    assert f"all devices (0 = GPU-bb by process {os.getpid()}) are in use" in str(without.problem)


@pytest.mark.parametrize(
    ("visible", "listed_here", "environment", "expected"),
    [
        pytest.param("0", ["GPU-a"], {}, ["GPU-a"], id="number"),
        pytest.param("1,0", ["GPU-a", "GPU-b"], {}, ["GPU-b", "GPU-a"], id="rotated"),
        pytest.param("0,9", ["GPU-a"], {}, ["GPU-a", "9"], id="beyond what is known"),
        pytest.param("0", ["GPU-a"], {"SLURM_JOB_GPUS": "3"}, ["GPU-a"], id="UUID before Slurm"),
        pytest.param("GPU-7f", ["GPU-7f21", "GPU-80"], {}, ["GPU-7f21"], id="abbreviation"),
        pytest.param("GPU-7f", ["GPU-7f21", "GPU-7f22"], {}, ["GPU-7f"], id="ambiguous abbreviation"),
        pytest.param("GPU-7f", [], {"SLURM_JOB_GPUS": "3"}, ["GPU-7f"], id="unknown UUID"),
        pytest.param("MIG-5/1/0", ["MIG-6"], {}, ["MIG-5/1/0"], id="MIG"),
        pytest.param("0", [], {"SLURM_JOB_GPUS": "3"}, ["3"], id="confined job"),
        pytest.param(
            "0,1", [], {"SLURM_JOB_GPUS": "0,2"}, ["0", "2"], id="confined job, overlapping numbers"
        ),
        pytest.param("1,2", [], {"SLURM_JOB_GPUS": "1,2"}, ["1", "2"], id="job without confinement"),
        pytest.param("3", [], {"SLURM_JOB_GPUS": "2,3"}, ["3"], id="part of a job without confinement"),
        pytest.param("0", [], {"SLURM_JOB_GPUS": "2,3", "SLURM_STEP_GPUS": "3"}, ["3"], id="step"),
        pytest.param("5", [], {"SLURM_JOB_GPUS": "2,3"}, ["5"], id="not of the job"),
        pytest.param("0", [], {"SLURM_JOB_GPUS": "a100:1"}, ["0"], id="not numbers"),
        pytest.param("0", [], {"SLURM_JOB_ID": "7", "GPU_DEVICE_ORDINAL": "0"}, ["0"], id="nothing known"),
        pytest.param("0", [], {"ROCR_VISIBLE_DEVICES": "2"}, ["0"], id="AMD's variable without AMD"),
    ],
)
def test_a_device_has_one_name_in_all_views_of_a_node(
    visible: str, listed_here: list[str], environment: dict[str, str], expected: list[str], listed: list[str]
) -> None:
    listed[:] = listed_here
    entries = visible.split(",")
    assert identities(entries, environment) == dict(zip(entries, expected, strict=True))


@pytest.mark.parametrize(
    ("visible", "environment", "expected"),
    [
        ("0", {"ROCR_VISIBLE_DEVICES": "2"}, ["2"]),
        ("1", {"ROCR_VISIBLE_DEVICES": "GPU-5a,GPU-6b"}, ["GPU-6b"]),
        ("0", {"ROCR_VISIBLE_DEVICES": "0", "SLURM_JOB_GPUS": "2"}, ["2"]),
        ("0", {"ROCR_VISIBLE_DEVICES": "2", "SLURM_JOB_GPUS": "2"}, ["2"]),
        ("1", {}, ["1"]),
    ],
)
def test_on_amd_a_number_counts_in_what_rocr_lets_see(
    visible: str, environment: dict[str, str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert list(identities([visible], environment).values()) == expected


def test_on_amd_its_own_list_goes_first_and_is_what_is_narrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "2,3")
    assert visible_devices() == ["0", "1"]
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert visible_devices() == ["2", "3"]
    confine("3")
    assert (os.environ["HIP_VISIBLE_DEVICES"], os.environ["CUDA_VISIBLE_DEVICES"]) == ("3", "3")


def test_without_locks_in_the_temporary_directory_no_device_is_claimed_and_the_problem_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    found = claim(["0"], tmp_path)
    assert found.device == "none"
    assert f"locks on files in {tmp_path}" in str(found.problem)
    assert "set TMPDIR" in str(found.problem)


@pytest.mark.parametrize("kind", ["link", "others may write", "another user's"])
def test_locks_are_not_put_where_somebody_else_could_hold_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "locks"
    (tmp_path / "elsewhere").mkdir()
    if kind == "link":
        directory.symlink_to(tmp_path / "elsewhere")
    else:
        directory.mkdir()
        directory.chmod(0o770 if kind == "others may write" else 0o700)
    if kind == "another user's":
        owner = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    found = claim(["0"], directory)
    assert (found.device, found.descriptor) == ("none", -1)
    assert "which is not a directory that only this user can write to" in str(found.problem)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_directory_of_locks_is_the_users_own(tmp_path: Path) -> None:
    claim(["0"], tmp_path / "locks")
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700
