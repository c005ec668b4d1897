"""How the UUIDs of GPUs are found; none of this needs one, and the library is a fake."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from workers import gpus

NVML = Path(__file__).parents[1] / "integration" / "nvml.c"
LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1a)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-2b)
  MIG 3g.20gb     Device  0: (UUID: MIG-3c)
  MIG 3g.20gb     Device  1: (UUID: MIG-4d)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-5e)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An NVML that knows the GPUs in FAKE_GPUS, a comma between two; `-` is one that may not be opened."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc here")
    found = tmp_path_factory.mktemp("nvml") / gpus.LIBRARY
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(found), str(NVML)], check=True)
    return str(found)


@pytest.mark.parametrize(
    ("fake", "uuids"),
    [
        ("GPU-1a", ["GPU-1a"]),
        ("GPU-1a,GPU-2b", ["GPU-1a", "GPU-2b"]),
        ("-,GPU-2b", ["GPU-2b"]),
        ("GPU-1a,MIG-3c+MIG-4d,GPU-5e", ["GPU-1a", "MIG-3c", "MIG-4d", "GPU-5e"]),
        ("", []),
        ("broken", []),
    ],
)
def test_nvml_lists_what_may_be_opened_and_mig_instances_instead_of_their_gpu(
    fake: str, uuids: list[str], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPUS", fake)
    assert gpus.of_nvml(library) == uuids


def test_without_nvml_or_with_one_that_lacks_a_function_nothing_is_known(tmp_path: Path) -> None:
    assert gpus.of_nvml("libnone-such.so.9") == []
    assert gpus.of_nvml("libc.so.6") == []


def node(directory: Path, *information: str) -> tuple[Path, Path]:
    """A `/proc/driver/nvidia` and a `/dev`, with the device files 0, 1, ... of as many GPUs."""
    proc, dev = directory / "proc", directory / "dev"
    dev.mkdir()
    for number, text in enumerate(information):
        gpu = proc / "gpus" / f"0000:{number}1:00.0"
        gpu.mkdir(parents=True)
        (gpu / "information").write_text(text)
        (dev / f"nvidia{number}").touch()
    return proc, dev


def about(uuid: str, minor: int) -> str:
    return f"Model: \t\t NVIDIA A100\nIRQ:   \t\t 7\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n"


def test_proc_lists_the_gpus_by_pci_address_but_only_those_whose_device_file_may_be_opened(
    tmp_path: Path,
) -> None:
    proc, dev = node(tmp_path, about("GPU-1a", 1), about("GPU-2b", 0), about("GPU-3c", 2))
    assert gpus.of_proc(proc, dev) == ["GPU-1a", "GPU-2b", "GPU-3c"]
    (dev / "nvidia1").unlink()
    assert gpus.of_proc(proc, dev) == ["GPU-2b", "GPU-3c"]


def test_proc_leaves_out_what_a_cgroup_does_not_let_it_read_and_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc, dev = node(tmp_path, about("GPU-1a", 0), about("GPU-2b", 1))
    monkeypatch.setattr(
        os, "access", lambda path, mode: path.name == "nvidia1" or not mode & (os.R_OK | os.W_OK)
    )
    assert gpus.of_proc(proc, dev) == ["GPU-2b"]


def test_proc_is_not_believed_where_it_has_no_uuid_or_a_gpu_is_divided(tmp_path: Path) -> None:
    proc, dev = node(tmp_path, about("GPU-1a", 0), about("GPU-????????-????", 1))
    assert gpus.of_proc(proc, dev) == []
    (dev / "nvidia1").unlink()
    assert gpus.of_proc(proc, dev) == ["GPU-1a"]
    (proc / "capabilities" / "gpu0" / "mig" / "gi3").mkdir(parents=True)
    assert gpus.of_proc(proc, dev) == []
    assert gpus.of_proc(tmp_path / "none", dev) == []


def test_the_list_of_nvidia_smi_has_mig_instances_instead_of_their_gpu() -> None:
    assert gpus.parse_list(LISTED) == ["GPU-1a", "MIG-3c", "MIG-4d", "GPU-5e"]
    assert gpus.parse_list("No devices found.\n") == []


def test_nvidia_smi_is_asked_if_nobody_else_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "of_nvml", list)
    monkeypatch.setattr(gpus, "of_proc", list)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "GPU 0: Some GPU (UUID: GPU-1a)"\n')
    program.chmod(0o755)
    assert gpus.uuids() == ["GPU-1a"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert gpus.uuids() == []
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.uuids() == []
