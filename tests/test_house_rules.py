"""Rules of the code base: imports, sizes of modules, and no code that is executed from data."""

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("evodevo", "workers")
    for path in sorted((REPOSITORY / package).rglob("*.py"))
}
ALLOWED = {
    "evodevo.evolution": ["evodevo.evolution", "evodevo.installed"],
    "evodevo.run": [
        "evodevo.run",
        "evodevo.evolution",
        "evodevo.config",
        "evodevo.config_phases",
        "evodevo.config_search",
        "evodevo.config_start",
        "evodevo.errors",
        "evodevo.versions",
    ],
    "evodevo.report": [
        "evodevo.report",
        "evodevo.run",
        "evodevo.evolution",
        "evodevo.config",
        "evodevo.config_phases",
        "evodevo.config_search",
        "evodevo.errors",
        "evodevo.yaml_text",
    ],
    "evodevo.trackers": [
        "evodevo.trackers",
        "evodevo.run",
        "evodevo.evolution",
        "evodevo.config_errors",
        "evodevo.config_search",
        "evodevo.installed",
    ],
    "evodevo.service": [
        "evodevo.clock",
        "evodevo.console",
        "evodevo.display",
        "evodevo.fresh",
        "evodevo.service",
        "evodevo.report",
        "evodevo.run",
        "evodevo.evolution",
        "evodevo.config",
        "evodevo.config_errors",
        "evodevo.config_file",
        "evodevo.config_phases",
        "evodevo.config_search",
        "evodevo.errors",
        "evodevo.names",
        "evodevo.trackers",
        "evodevo.versions",
    ],
    "evodevo.compat": [
        "evodevo.compat",
        "evodevo.service.bare_main",
        "evodevo.service.client",
        "evodevo.run",
        "evodevo.evolution",
        "evodevo.command_flags",
        "evodevo.config",
        "evodevo.config_search",
        "evodevo.errors",
    ],
    "evodevo.testing": [
        "evodevo.testing",
        "evodevo.fresh",
        "evodevo.run",
        "evodevo.evolution",
        "evodevo.config",
        "evodevo.errors",
        "evodevo.service.function_space",
    ],
    "evodevo.config_file": ["evodevo.config", "evodevo.errors", "evodevo.evolution", "evodevo.yaml_text"],
    "evodevo.config": [
        "evodevo.config_checks",
        "evodevo.config_cluster",
        "evodevo.config_objective",
        "evodevo.command_flags",
        "evodevo.config_errors",
        "evodevo.config_limits",
        "evodevo.config_run",
        "evodevo.config_phases",
        "evodevo.config_search",
        "evodevo.config_trackers",
        "evodevo.config_values",
        "evodevo.errors",
        "evodevo.evolution",
        "evodevo.installed",
        "evodevo.run.place",
        "evodevo.trackers",
        "evodevo.yaml_text",
    ],
    "evodevo.config_demes": [
        "evodevo.config.RunConfig",
        "evodevo.config_errors",
        "evodevo.config_values",
        "evodevo.evolution",
    ],
    "evodevo.config_search": ["evodevo.config_demes", "evodevo.config_values", "evodevo.evolution"],
    "evodevo.config_objective": ["evodevo.config_cluster", "evodevo.config_search"],
    "evodevo.config_cluster": ["evodevo.config_search", "evodevo.config_values"],
    "evodevo.yaml_text": ["evodevo.errors"],
    "evodevo.config_errors": ["evodevo.evolution"],
    "evodevo.command_flags": [],
    "evodevo.config_trackers": ["evodevo.config_values"],
    "evodevo.config_values": [],
    "evodevo.errors": [],
    "evodevo.installed": [],
    "evodevo.clock": [],
    "evodevo.fresh": [],
    "evodevo.names": ["evodevo.errors"],
    "evodevo.versions": [],
    "evodevo.display": ["evodevo.config", "evodevo.config_search", "evodevo.harmless", "evodevo.run"],
    "evodevo.harmless": [],
    "evodevo.console": ["evodevo.harmless"],
    "workers": [
        "evodevo.evolution.fitness",
        "evodevo.evolution.restarts",
        "workers",
        "evodevo.clock",
        "evodevo.fresh",
        "evodevo.run.blame",
        "evodevo.run.records",
        "evodevo.run.checkpoints",
        "evodevo.run.files",
        "evodevo.run.place",
        "evodevo.command_flags",
        "evodevo.config_errors",
        "evodevo.errors",
        "evodevo.installed",
        "evodevo.versions",
        "evodevo.yaml_text",
    ],
}
HEAVY = ["torch", "torchvision", "safetensors", "workers"]
LAZY = [
    ("evodevo", "workers.workload.Splits"),
    ("evodevo", "workers.workload.Workload"),
    ("evodevo.service.doctor", "torch"),
]
"""What is imported when it is first asked for; see the test in a bare process."""
YAML_LOADER = ("evodevo.yaml_text", "_Loader")
UNPICKLER = ("workers.data.cifar10", "pickle")
PICKLES = ["pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"]
RUNS_CODE = ["eval", "exec", "compile", "__import__", "torch.load"]
LONGEST = 400


def under(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Every module, or name in one, that is imported anywhere in a module of `package`, dotted.

    `from a import b` counts as `a.b`, as b may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@functools.cache
def imports_of(module: str) -> list[str]:
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    return list(imports(tree_of(module), package))


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_the_modules_are_found() -> None:
    assert {"evodevo", "evodevo.run.controller", "workers.unit", "workers.workloads"} <= MODULES.keys()
    assert {package for package in ALLOWED if not any(under(module, package) for module in MODULES)} == set()


def test_an_import_is_found_in_whatever_form_it_has() -> None:
    text = """
import a.b as c, d
from e import f
from . import g
from ..h import i
def later():
    from j.k import l
"""
    assert set(imports(ast.parse(text), "x.y")) == {"a.b", "d", "e.f", "x.y.g", "x.h.i", "j.k.l"}


@pytest.mark.parametrize("wing", ALLOWED)
def test_a_wing_imports_only_what_it_may(wing: str) -> None:
    forbidden = [
        f"{module} imports {imported}"
        for module in MODULES
        if under(module, wing)
        for imported in imports_of(module)
        if under(imported, "evodevo") or under(imported, "workers")
        if not any(under(imported, allowed) for allowed in ALLOWED[wing])
    ]
    assert forbidden == []


def test_the_library_imports_neither_workers_nor_torch() -> None:
    found = [
        f"{module} imports {imported}"
        for module in MODULES
        if under(module, "evodevo")
        for imported in imports_of(module)
        if any(under(imported, heavy) for heavy in HEAVY) and (module, imported) not in LAZY
    ]
    assert found == []


def test_only_the_command_line_and_compatible_scripts_are_above_the_service() -> None:
    above = [
        module
        for module in MODULES
        if not under(module, "evodevo.service") and not under(module, "evodevo.compat")
        if any(under(imported, "evodevo.service") for imported in imports_of(module))
    ]
    commands = ["evodevo.cli_commands", "evodevo.cli_common", "evodevo.cli_machine", "evodevo.cli_results"]
    assert sorted(above) == ["evodevo", *commands, "evodevo.testing.simulated"]


BARE = """
import importlib, importlib.abc, pkgutil, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {heavy}:
            raise ModuleNotFoundError("blocked: " + name, name=name)

sys.meta_path.insert(0, Blocker())
import evodevo
names = [module.name for module in pkgutil.walk_packages(evodevo.__path__, "evodevo.", onerror=print)]
for name in names:
    importlib.import_module(name)
print(len(names), evodevo.Schedule.load(sys.argv[1]).at(1)["rate"])
try:
    import torch
except ModuleNotFoundError as why:
    print(why)
"""
SCHEDULE = """
{run: small, member: g001s000, metric: loss, fom: 0.5, checkpoint_sha256: null, epochs: [
  {epoch: 0, member: g000s000, training_seed: 1, fom: 0.7, hyperparameters: {rate: 1.0}, genome: {rate: 1}},
  {epoch: 1, member: g001s000, training_seed: 2, fom: 0.5, hyperparameters: {rate: 1e-4}, genome: {rate: 1}}
]}
"""


def test_the_library_is_imported_and_reads_a_schedule_where_torch_and_workers_are_not(tmp_path: Path) -> None:
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    done = subprocess.run(
        [sys.executable, "-c", BARE.replace("{heavy}", repr(set(HEAVY))), str(tmp_path / "schedule.yaml")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    count = sum(under(module, "evodevo") for module in MODULES) - 1
    assert done.stdout.splitlines() == [f"{count} 0.0001", "blocked: torch"]


def test_a_module_fits_into_400_lines() -> None:
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: count for module, count in lines.items() if count > LONGEST} == {}


def test_nothing_that_is_read_can_run_code() -> None:
    """No pickle and its kin, no evaluation of strings, no YAML loader but the safe one."""
    assert {module: found for module in MODULES if (found := running_code(module))} == {}


def running_code(module: str) -> list[str]:
    found = [
        imported
        for imported in imports_of(module)
        if any(under(imported, one) for one in PICKLES) and (module, imported) != UNPICKLER
    ]
    for call in calls(tree_of(module)):
        name = ast.unparse(call.func)
        named = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        loader = ast.unparse(call.args[1]) if len(call.args) > 1 else named.get("Loader")
        if (
            name in RUNS_CODE
            or (name.startswith("yaml.") and "load" in name and (module, loader) != YAML_LOADER)
            or named.get("allow_pickle") == "True"
        ):
            found.append(ast.unparse(call))
    return found


def test_the_yaml_loader_is_a_safe_one() -> None:
    """The one that the rule above lets through."""
    tree = tree_of("evodevo.yaml_text")
    loaders = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "_Loader"]
    assert [[ast.unparse(base) for base in loader.bases] for loader in loaders] == [["yaml.SafeLoader"]]


def test_the_module_that_may_import_pickle_only_derives_an_unpickler_with_a_find_class_of_its_own() -> None:
    tree = tree_of(UNPICKLER[0])
    used = {node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "pickle"}
    derived = [
        base
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if ast.unparse(base) == "pickle.UnpicklingError"
        or (
            ast.unparse(base) == "pickle.Unpickler"
            and any(isinstance(item, ast.FunctionDef) and item.name == "find_class" for item in node.body)
        )
    ]
    assert used == {base.value for base in derived if isinstance(base, ast.Attribute)}
    renamed = [
        alias
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname
    ]
    assert {alias.name for alias in renamed} == {"numpy"}


def test_a_worker_function_that_the_library_names_is_there() -> None:
    """They are named by import path, and nothing else would notice a wrong one."""
    from evodevo.run.setup import DESCRIBE, EXAMINE, RENDER, RUN_UNIT, TRY_START
    from evodevo.service.attachment import JOIN
    from evodevo.service.export import IS_PACKED, PLAIN_FILE, PLAIN_STATE, UNPACK

    exports = (IS_PACKED, PLAIN_FILE, PLAIN_STATE, UNPACK)
    for path in (DESCRIBE, EXAMINE, JOIN, RENDER, RUN_UNIT, TRY_START, *exports):
        module, _, function = path.partition(":")
        tree = tree_of(module)
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_helpers_of_the_tests_are_imported_by_one_name() -> None:
    """`configs` and `tests.configs` would be two modules, each with its own classes."""
    tests = REPOSITORY / "tests"
    helpers = {path.stem for path in tests.iterdir()} - {"workers"}  # which is the package
    found = [
        f"{path.relative_to(REPOSITORY)} imports {imported}"
        for path in tests.rglob("*.py")
        for imported in imports(ast.parse(path.read_text(encoding="utf-8")), "")
        if imported.partition(".")[0] in helpers
    ]
    assert found == []
