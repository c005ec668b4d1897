"""Which versions take part in a run, and how they are told apart."""

import platform
from importlib.metadata import PackageNotFoundError, version

import pytest

from evodevo import versions
from evodevo.versions import differences, own_versions


def test_own_versions_are_those_that_are_installed() -> None:
    own = own_versions()
    assert list(own) == ["evodevo", "python", "dask", "distributed"]
    assert (own["dask"], own["distributed"]) == (version("dask"), version("distributed"))


def test_a_patch_release_of_python_is_not_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_version_tuple", lambda: ("3", "14", "9"))
    assert own_versions()["python"] == "3.14"


def test_a_package_that_is_not_there_has_a_version_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(versions, "_version", versions._version.__wrapped__)  # without its cache
    monkeypatch.setattr(versions, "version", missing)
    assert own_versions()["dask"] == "not installed"
    assert differences(own_versions(), {"dask": "2026.8.0"}) == ["dask not installed/2026.8.0"]


def test_a_process_does_not_differ_from_itself() -> None:
    assert differences(own_versions(), own_versions()) == []


def test_every_package_that_differs_is_named_with_ours_and_then_theirs() -> None:
    ours = {"evodevo": "0.1.0", "python": "3.11", "dask": "2026.8.0"}
    theirs = {"dask": "2026.9.0", "evodevo": "0.1.0", "python": "3.12"}
    assert differences(ours, theirs) == ["python 3.11/3.12", "dask 2026.8.0/2026.9.0"]
    assert differences(theirs, ours) == ["dask 2026.9.0/2026.8.0", "python 3.12/3.11"]


@pytest.mark.parametrize(
    "ours, theirs", [({"a": "1", "torch": "2"}, {"a": "1"}), ({}, {"a": "1"}), ({"a": "1"}, {})]
)
def test_a_package_that_only_one_side_has_is_not_a_difference(
    ours: dict[str, str], theirs: dict[str, str]
) -> None:
    assert differences(ours, theirs) == []
