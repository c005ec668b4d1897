"""A script that its own workers would run again is refused, and told the guard that it lacks."""

import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = "from evodevo.service.bare_main import refuse_unguarded_main\n"
GUARDED = 'if __name__ == "__main__":\n    begin()\n'


def run(folder: Path, script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (folder / "script.py").write_text(script)
    command = [sys.executable, *(arguments or ("script.py",))]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_local_at_the_top_of_a_script_ends_it_with_a_line_that_names_the_guard(tmp_path: Path) -> None:
    told = run(tmp_path, "import evodevo\n\nclient = evodevo.local(workers=1)\n")
    assert told.returncode == 1
    last = told.stderr.splitlines()[-1]
    assert last.startswith(f"evodevo.errors.UsageError: line 3 of {tmp_path / 'script.py'} starts workers")
    assert last.endswith('put that line under `if __name__ == "__main__":`')


@pytest.mark.parametrize(
    "rest",
    [
        "refuse_unguarded_main()\n",
        "def begin():\n    refuse_unguarded_main()\nbegin()\n" + GUARDED,
        "if not __debug__ or True:\n    refuse_unguarded_main()\n",
    ],
)
def test_a_call_outside_the_guard_is_refused_also_within_a_function(tmp_path: Path, rest: str) -> None:
    for arguments in (["script.py"], ["-m", "script"]):
        told = run(tmp_path, BEGIN + rest, *arguments)
        assert told.returncode == 1 and "UsageError: line " in told.stderr


@pytest.mark.parametrize(
    ("rest", "arguments"),
    [
        ("def begin():\n    refuse_unguarded_main()\n" + GUARDED, ["script.py"]),
        ("import sys\nif sys.argv and __name__ == '__main__':\n    refuse_unguarded_main()\n", ["script.py"]),
        ("refuse_unguarded_main()\n", ["-c", "import script"]),
    ],
)
def test_a_guarded_call_and_one_of_an_imported_module_are_not_refused(
    tmp_path: Path, rest: str, arguments: list[str]
) -> None:
    told = run(tmp_path, BEGIN + rest, *arguments)
    assert told.returncode == 0, told.stderr


def test_the_main_module_of_a_package_needs_no_guard(tmp_path: Path) -> None:
    """`multiprocessing` does not import a `__main__.py` in new processes."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(BEGIN + "refuse_unguarded_main()\n")
    assert run(tmp_path, "", "-m", "package").returncode == 0
