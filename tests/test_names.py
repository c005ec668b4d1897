"""A module of a user's that has the name of a package of ours is found before anything starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import evodevo
from evodevo.errors import UsageError
from evodevo.names import check_names
from tests.golden import assert_golden, raises_golden

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = """\
run: {name: mine}
workload: {command: echo FoM}
objective: {metric: fom, mode: min}
search:
  population: 2
  generations: 1
  loci: {rate: {type: float, low: 0.1, high: 1.0, initial: 0.5}}
"""


def write(directory: Path, name: str) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x = 1\n")


@pytest.mark.parametrize("file", ["workers.py", "evodevo.py", "workers/__init__.py", "evodevo/__init__.py"])
@pytest.mark.parametrize("by", ["the current directory", "PYTHONPATH"])
def test_a_module_or_package_with_a_name_of_ours_is_refused_with_both_places(
    file: str, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "own", file)
    if by == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/somewhere", str(tmp_path / "own")]))
    else:
        monkeypatch.chdir(tmp_path / "own")
    name = file.split("/")[0].removesuffix(".py")
    with pytest.raises(UsageError) as caught:
        check_names()
    assert str(caught.value) == (
        f"{tmp_path / 'own' / file.removesuffix('/__init__.py')} hides evodevo's package {name!r} of "
        f"the same name ({REPOSITORY / name}): rename it"
    )


def test_data_in_a_directory_of_that_name_and_a_copy_of_ours_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "workers/data.csv")
    for file in ("evodevo/__init__.py", "evodevo/cli.py"):
        write(tmp_path, file)
    write(tmp_path, "mine.py")
    monkeypatch.chdir(tmp_path)
    check_names()


def test_a_local_cluster_is_refused_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "workers.py")
    monkeypatch.chdir(tmp_path)
    with raises_golden("names/hidden-from-a-cluster", UsageError, tmp_path), evodevo.local(1):
        pass


@pytest.mark.parametrize("command", ["check", "launch"])
def test_the_command_line_says_it_in_one_line_and_writes_nothing(command: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(CONFIG)
    write(tmp_path, "workers.py")
    told = subprocess.run(
        [sys.executable, "-m", "evodevo", command, "mine.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert told.returncode == 2
    assert [line.split()[0] for line in told.stdout.splitlines()] == ["starting"] * (command == "launch")
    assert_golden("names/hidden-package", told.stderr, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "workers.py"]
