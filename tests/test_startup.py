"""What a process does not import before it needs it."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click import Context

from evodevo import cli, cli_commands, cli_machine, cli_results
from tests.golden import raises_golden

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = {"bokeh", "distributed", "matplotlib", "pandas", "torch"}


def imported_by(code: str) -> set[str]:
    """The top-level modules of a new process that has run this code."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return {module.partition(".")[0] for module in done.stderr.split()}


def test_the_package_imports_nothing_heavy_before_it_is_needed() -> None:
    assert imported_by("import evodevo") & {*HEAVY, "click", "numpy", "pydantic"} == set()
    light = "evodevo.Schedule, evodevo.open_run, evodevo.local, evodevo.Strategy, evodevo.RunConfig"
    assert imported_by(f"import evodevo; {light}") & {*HEAVY, "workers"} == set()


def test_the_names_for_ones_own_model_load_torch_when_they_are_asked_for() -> None:
    found = imported_by("from evodevo import Splits, Workload; Workload.__init_subclass__(), Splits(1, 2, 3)")
    assert {"torch", "workers"} <= found


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_says_what_it_can_do_without_importing_a_command(option: str) -> None:
    found = imported_by(f"from evodevo.cli import main\nmain([{option!r}])")
    assert "evodevo" in found
    assert found & {*HEAVY, "numpy", "pydantic", "rich"} == set()


def test_commands_that_need_no_cluster_import_none() -> None:
    assert imported_by("from evodevo.cli import main\nmain(['status'])") & HEAVY == set()


def test_every_public_name_is_there_and_another_is_not() -> None:
    import evodevo

    values = {name: getattr(evodevo, name) for name in evodevo.__all__ if name != "__version__"}
    assert all(value.__name__ == name for name, value in values.items())
    assert evodevo.__version__ == version("evodevo")
    assert set(evodevo.__all__) <= set(dir(evodevo))
    with raises_golden("python-api/no-attribute", AttributeError):
        evodevo.lokal  # noqa: B018


def test_the_list_of_commands_is_that_of_the_commands() -> None:
    for name, about in cli.COMMANDS.items():
        command = cli.evodevo.get_command(Context(cli.evodevo), name)
        assert command is not None
        assert command.help is not None
        assert command.name == name
        assert about == command.help.partition("\n")[0]
    modules = vars(cli_commands) | vars(cli_results) | vars(cli_machine)
    own = {thing.name for thing in modules.values() if hasattr(thing, "get_short_help_str")}
    assert own == cli.COMMANDS.keys()
