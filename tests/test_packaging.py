"""What pyproject.toml declares is what the packages import, and what constraints.txt pins."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evodevo.versions import TESTED
from tests.test_house_rules import MODULES, REPOSITORY, imports, imports_of, under

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OF_USERS = EXTRAS.keys() - {"docs", "examples", "test"}
IF_THERE = {"ipython", "pandas"}
"""Used in a user's notebook, which has them."""
NOT_IMPORTED = {"s3fs": "fsspec loads it for s3://", "aiohttp": "scripts/fetch_data.py imports it"}
OWN_EXTRA = ("evodevo.trackers.mlflow", "evodevo.trackers.tensorboard", "evodevo.trackers.wandb")
PINS = {
    canonicalize_name(name): version
    for name, _, version in (
        line.partition("==")
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}
DISTRIBUTIONS = packages_distributions()


def names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def extras(chosen: Iterable[str]) -> set[str]:
    return {name for extra in chosen for name in names(EXTRAS[extra])}


def distributions(imported: Iterable[str]) -> set[str]:
    """The distributions of what is imported, but for Python's and our own."""
    found = {module.partition(".")[0] for module in imported} - sys.stdlib_module_names
    found -= {"evodevo", "workers"}
    return {canonicalize_name(DISTRIBUTIONS.get(module, [module])[0]) for module in found}


def always_imported(module: str) -> list[str]:
    """What a module imports when it is imported itself, rather than in one of its functions."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    outside = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return list(imports(ast.Module(outside, []), module.rpartition(".")[0]))


def test_what_is_imported_is_declared() -> None:
    imported = distributions(name for module in MODULES for name in imports_of(module))
    assert imported - names(PROJECT["dependencies"]) - extras(OF_USERS) == IF_THERE


def test_what_is_declared_is_imported() -> None:
    imported = distributions(name for module in MODULES for name in imports_of(module))
    declared = names(PROJECT["dependencies"]) | extras(OF_USERS)
    assert declared - imported == NOT_IMPORTED.keys()


@pytest.mark.parametrize(("package", "chosen"), [("evodevo", []), ("workers", ["workloads"])])
def test_an_extra_is_imported_only_where_it_is_needed(package: str, chosen: list[str]) -> None:
    modules = [module for module in MODULES if under(module, package) and module not in OWN_EXTRA]
    needed = distributions(name for module in modules for name in always_imported(module))
    assert needed - names(PROJECT["dependencies"]) - extras(chosen) == set()


def test_each_of_a_users_packages_has_a_lowest_version() -> None:
    requirements = [*PROJECT["dependencies"], *(text for extra in OF_USERS for text in EXTRAS[extra])]
    assert [text for text in requirements if not re.search(r">=\d", text)] == []


def test_each_requirement_has_a_pin_that_it_allows() -> None:
    requirements = [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]
    for requirement in map(Requirement, requirements):
        if (name := canonicalize_name(requirement.name)) != "evodevo":
            assert PINS[name] in requirement.specifier, requirement


def test_the_pinned_versions_are_those_that_are_said_to_be_tested() -> None:
    for name, tested in TESTED.items():
        assert PINS[canonicalize_name(name)] in Requirement(f"{name}{tested}").specifier


def test_the_extra_of_the_tests_has_all_others() -> None:
    (own,) = [found for found in map(Requirement, EXTRAS["test"]) if found.name == "evodevo"]
    assert own.extras == EXTRAS.keys() - {"test"}
