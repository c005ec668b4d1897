"""What Python gives as a config is what a file with the same in it would be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evodevo.config import parse
from evodevo.config_file import load
from evodevo.errors import UsageError
from evodevo.service.given import config_of, refuse_main
from tests.configs import small
from tests.golden import raises_golden

HYP = Path(__file__).parents[2] / "configs" / "hyp.yaml"


def data() -> dict[str, Any]:
    return small()


def test_a_dict_with_a_hyp_yaml_is_the_config_that_its_file_would_be(tmp_path: Path) -> None:
    given = data()
    given["search"].update(loci={}, hyp=str(HYP), strategy="mutate_best", population=1, options={})
    (tmp_path / "same.yaml").write_text(yaml.safe_dump(given))
    assert config_of(given) == load(tmp_path / "same.yaml")
    assert given["search"]["hyp"] == str(HYP), "the caller's dict is changed"


def test_numbers_of_numpys_tuples_and_paths_are_those_of_yaml() -> None:
    given = data()
    locus = next(iter(given["search"]["loci"]))
    given["run"]["seed"] = np.int64(7)
    given["search"]["population"] = np.uint8(6)
    given["search"]["loci"][locus]["low"] = np.float64(given["search"]["loci"][locus]["low"])
    given["data"] = {"root": Path("data")}
    found = config_of(given)
    assert type(found.run.seed) is int and found.run.seed == 7
    assert type(found.search.population) is int and found.search.population == 6
    assert type(found.to_json()["search"]["loci"][locus]["low"]) is float
    assert found.data.root == str(Path("data").absolute())


def test_overrides_are_set_over_whatever_is_given(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(parse(small()).to_yaml())
    for given in (parse(small()), data(), tmp_path / "one.yaml", str(tmp_path / "one.yaml")):
        found = config_of(given, {"run.name": "second", "search.generations": np.int64(3)})
        assert (found.run.name, found.search.generations) == ("second", 3)


def test_what_is_not_a_config_is_named() -> None:
    with raises_golden("python-api/not-a-config", UsageError):
        config_of(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"run\.name: <object"):
        config_of({"run": {"name": object()}})


def test_what_contains_itself_or_is_nested_too_deep_is_named_in_one_short_message() -> None:
    circle: dict[str, Any] = {}
    circle["inner"] = [circle]
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for options in ({"net": circle}, {"net": deep}):
        with pytest.raises(
            UsageError, match=r"^workload\.options\.net[.\w]*: nested more than 50 levels"
        ) as told:
            config_of({**data(), "workload": {"use": "digits:Digits", "options": options}})
        assert len(str(told.value)) < 200
        assert told.value.__cause__ is None
    with raises_golden("python-api/nested-too-deep", UsageError):
        config_of(data(), {"workload.options": deep})


def test_a_class_of_a_module_is_its_import_path_and_one_of_a_function_says_what_to_do() -> None:
    class Local:
        pass

    given = data()
    given["workload"] = {"use": Path}
    assert config_of(given).workload.use == f"{Path.__module__}:Path"
    given["workload"] = {"use": Local}
    with raises_golden("python-api/local-class", UsageError, module=__name__):
        config_of(given)


def test_a_path_into_main_is_refused() -> None:
    given = data()
    given["workload"] = {"use": "__main__:Net"}
    with raises_golden("python-api/class-of-main", UsageError):
        refuse_main(config_of(given))
