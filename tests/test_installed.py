"""Strategies and workloads of other packages, by the names of their entry points."""

import sys
from pathlib import Path

import pytest

from evodevo.config import parse, read_config
from evodevo.errors import UsageError
from evodevo.evolution.strategies import find
from evodevo.testing import check_strategy
from tests.configs import small
from tests.golden import raises_golden
from workers.build import build

MODULE = """
from evodevo.evolution.strategies import TriParent
from workers.workloads.lenet import LeNet

class Annealing(TriParent):
    pass

class Model(LeNet):
    pass
"""
ENTRIES = """
[evodevo.strategies]
annealing = {module}:Annealing
tri_parent = {module}:Annealing
lost = {module}:NoSuchClass

[evodevo.workloads]
little = {module}:Model
"""
USE_LITTLE = {"workload.use": "little"}


def install(directory: Path, package: str, entries: str = ENTRIES) -> None:
    """What an installer leaves: a module, and the metadata of its distribution."""
    (directory / f"{package}.py").write_text(MODULE)
    metadata = directory / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entries.format(module=package))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "annealing_for_evodevo"
    install(tmp_path, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_a_strategy_of_another_package_is_found_and_checked_by_its_name(package: str) -> None:
    assert find("annealing").__module__ == package
    config = parse(small({"search.strategy": "annealing"}))
    assert type(config.strategy()).__name__ == "Annealing"
    check_strategy("annealing", rules=["a_run_comes_to_its_end"])


def test_a_workload_of_another_package_is_found_by_its_name_on_the_worker(package: str) -> None:
    workload = parse(small(USE_LITTLE)).workload.model_dump()
    assert workload["use"] == "little"
    assert type(build(workload)).__module__ == package


def test_names_of_evodevos_own_are_its_own(package: str) -> None:
    assert find("tri_parent").__module__ == "evodevo.evolution.strategies.tri_parent"


def test_a_name_that_a_package_takes_from_evodevo_is_listed_once(package: str) -> None:
    with raises_golden("installed/unknown-strategy", ValueError) as told:
        find("no_such")
    assert str(told.value).count("tri_parent") == 1


def test_a_misspelt_class_is_answered_with_the_one_that_is_meant(package: str) -> None:
    with raises_golden("installed/nearest-class", ValueError, package=package):
        find(f"{package}:Anealing")


def test_messages_list_what_other_packages_offer_and_say_why_it_cannot_be_had(package: str) -> None:
    with raises_golden("installed/nearest-strategy", UsageError):
        parse(small({"search.strategy": "anealing"}))
    with raises_golden("installed/class-missing", ValueError, package=package):
        find("lost")
    with raises_golden("installed/nearest-workload", UsageError):
        parse(small({"workload.use": "litle"}))


def test_two_packages_with_one_name_are_both_named(package: str, tmp_path: Path) -> None:
    install(tmp_path, "another_one")
    told = f"'annealing' is the name of .*{package}.* and of |'annealing' is the name of .*another_one"
    with pytest.raises(ValueError, match=told):
        find("annealing")
    with pytest.raises(UsageError, match=r"workload.use: 'little' is the name of "):
        parse(small(USE_LITTLE))


def test_a_run_is_read_without_importing_the_packages_that_it_names(package: str) -> None:
    data = small({"search.strategy": "annealing", **USE_LITTLE})
    written = parse(data).complete().to_json()
    del sys.modules[package]
    config = read_config(written)
    assert config.space().loci
    assert config.inherits
    assert package not in sys.modules


def test_a_worker_without_the_package_says_what_is_missing() -> None:
    with raises_golden("installed/no-package-offers-it", UsageError):
        build({"use": "little", "command": None, "options": {}})
