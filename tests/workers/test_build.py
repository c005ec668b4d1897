"""From the config's `workload` section to an object that can train."""

import re
import sys
from pathlib import Path

import pytest

from evodevo import yaml_text
from evodevo.errors import UsageError
from tests.golden import assert_golden
from tests.workers.conftest import UserModule
from tests.workers.toys import TOY, Toy, section
from workers.build import build
from workers.options import check
from workers.workloads.command import Command

HEAD = """\
from typing import Literal, Optional
from tests.workers.toys import Toy

"""


def refusal(workload: dict[str, object]) -> str:
    with pytest.raises(UsageError) as caught:
        build(workload)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_class_is_found_by_its_import_path_and_given_its_options() -> None:
    toy = build(section(TOY, batch_size=5))
    assert isinstance(toy, Toy)
    assert toy.batch_size == 5
    assert build(section(TOY)).batch_size == 16  # type: ignore[attr-defined]


@pytest.mark.parametrize("use", ["lenet:LeNet", "resnet20:ResNet20", "capsnet:CapsNet"])
@pytest.mark.parametrize("text", ["auto", "never"])
def test_an_epoch_is_captured_or_not_as_a_config_says_in_yaml(use: str, text: str) -> None:
    options = yaml_text.load(f"{{capture: {text}}}")
    made = build({**section(f"workers.workloads.{use}"), "options": options})
    check(made)  # type: ignore[arg-type]
    assert made.capture == text  # type: ignore[attr-defined]


def test_a_command_becomes_a_workload_too() -> None:
    assert isinstance(build(section(command="python train.py")), Command)


def test_a_command_is_given_the_flags_of_the_config() -> None:
    made = build({**section(command="train"), "flags": {"on": "bare"}})
    assert made.begin({"on": False}, 7, None).arguments == ["train"]


def test_a_module_that_is_not_there_is_named_with_the_directories_that_were_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    message = refusal(section("nowhere.at_all:Net"))
    assert message.startswith("workload.use: ")
    assert str(tmp_path) in message and "/somewhere/else" in message
    assert_golden("build/no-module", message, tmp_path)


@pytest.mark.parametrize(
    ("text", "why"), [("rate = 1 / 0\n", "ZeroDivisionError"), ("def f(:\n", "SyntaxError")]
)
def test_a_module_that_raises_when_it_is_imported_is_named_with_the_reason(
    user_module: UserModule, text: str, why: str
) -> None:
    name = user_module(text)
    message = refusal(section(f"{name}:Net"))
    assert message.startswith("workload.use: ")
    assert name in message and why in message


def test_a_module_that_raises_when_it_is_imported_is_named_with_the_line(user_module: UserModule) -> None:
    name = user_module("rate = 1\nrate /= 0\n")
    assert f"{name}.py:2" in refusal(section(f"{name}:Net"))


def test_a_package_that_a_users_module_lacks_is_not_taken_for_the_module(user_module: UserModule) -> None:
    name = user_module("import a_package_that_is_not_installed\n")
    message = refusal(section(f"{name}:Net"))
    assert "No module named 'a_package_that_is_not_installed'" in message
    assert f"where {name}.py is" not in message


def test_a_module_that_exits_when_it_is_imported_is_refused_like_one_that_raises(
    user_module: UserModule,
) -> None:
    assert "SystemExit" in refusal(section(f"{user_module('import sys; sys.exit(2)')}:Net"))


def test_a_class_that_is_not_there_is_named_with_the_nearest() -> None:
    message = refusal(section("workers.workloads.lenet:Lenet"))
    assert message.startswith("workload.use: ")
    assert_golden("build/nearest-class", message)


def test_where_no_class_is_near_none_is_proposed() -> None:
    message = refusal(section("workers.workloads.lenet:Quux"))
    assert_golden("build/no-class-near", message)


def test_a_function_is_no_class() -> None:
    assert_golden("build/function", refusal(section("tests.workers.toys:points")))


def test_a_class_that_is_no_workload_is_refused_with_the_class_to_derive_from() -> None:
    message = refusal(section("pathlib:Path"))
    assert message.startswith("workload.use: ")
    assert "workers.workload.Workload" in message
    assert_golden("build/not-a-workload", message)


def test_a_workload_that_lacks_methods_is_refused_with_their_names(user_module: UserModule) -> None:
    name = user_module(
        "from workers.workload import Workload\n"
        "class Net(Workload):\n"
        "    def data(self, root): ...\n"
        "    def model(self): ...\n"
        "    def loss(self, model, batch, hp): ...\n"
    )
    message = refusal(section(f"{name}:Net"))
    assert message.startswith("workload.use: ")
    assert_golden("build/methods-missing", message, module=name)


def test_an_unknown_option_is_named_with_the_nearest_and_all_that_there_are() -> None:
    message = refusal(section(TOY, batchsize=5))
    assert message.startswith("workload.options.batchsize: ")
    assert_golden("build/unknown-option", message)


def test_a_command_takes_no_options_and_its_command_is_none() -> None:
    for name in ("command", "flags", "shell"):
        message = refusal(section(command="true") | {"options": {name: "x"}})
        assert message.startswith(f"workload.options.{name}: ")
        assert_golden("build/option-of-a-command", message, option=name)


@pytest.mark.parametrize("value", ["5", 5.5, True, None, [5]], ids=str)
def test_an_option_of_another_type_is_named_with_its_value_and_the_right_type(value: object) -> None:
    message = refusal(section(TOY, batch_size=value))
    assert message.startswith("workload.options.batch_size: ")
    assert_golden("build/option-of-another-type", message, value=repr(value))


def test_a_required_option_that_is_missing_is_named(user_module: UserModule) -> None:
    name = user_module(HEAD + "class Net(Toy):\n    def __init__(self, depth: int, width=3): pass\n")
    message = refusal(section(f"{name}:Net"))
    assert message.startswith("workload.options.depth: ")
    assert_golden("build/option-missing", message)


def test_all_that_is_wrong_with_the_options_is_said_at_once(user_module: UserModule) -> None:
    name = user_module(HEAD + "class Net(Toy):\n    def __init__(self, depth: int, width: int): pass\n")
    message = refusal(section(f"{name}:Net", width="x", height=1))
    for key in ("depth", "width", "height"):
        assert f"options.{key}: " in message
    assert_golden("build/several-options", message)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("float", 1),
        ("Optional[int]", None),
        ("int | None", 3),
        ("Literal['a', 'b']", "b"),
        ("list[int]", [1, 2]),
        ("dict[str, float]", {"a": 0.5}),
    ],
    ids=str,
)
def test_an_option_of_any_type_that_yaml_has_is_given_as_it_is(
    user_module: UserModule, kind: str, value: object
) -> None:
    name = user_module(
        HEAD + f"class Net(Toy):\n    def __init__(self, *, given: {kind}): self.given = given\n"
    )
    found = build(section(f"{name}:Net", given=value))
    assert found.given == value  # type: ignore[attr-defined]


def test_an_option_without_a_type_takes_anything(user_module: UserModule) -> None:
    name = user_module(HEAD + "class Net(Toy):\n    def __init__(self, given=1): self.given = given\n")
    assert build(section(f"{name}:Net", given={"a": [1]})).given == {"a": [1]}  # type: ignore[attr-defined]


STRICT = "strict validation in Python mode takes no list for a tuple and no text for a Path"
LATER = "annotations that are text are not evaluated in the user's module"
FOREIGN = "pydantic has no schema for the type, though its default would do"


@pytest.mark.parametrize(
    ("head", "parameter", "options"),
    [
        pytest.param("", "a: tuple[int, ...] = (1,)", {"a": [1, 2]}),
        pytest.param("from pathlib import Path\n", "a: Path | None = None", {"a": "/x"}),
        pytest.param("from __future__ import annotations\n", "a: Literal['x', 'y'] = 'x'", {"a": "y"}),
        pytest.param("import torch\n", "a: torch.dtype = torch.float32", {}),
    ],
    ids=["tuple", "path", "annotations from the future", "foreign type"],
)
def test_an_option_that_python_people_write_can_be_given(
    user_module: UserModule, head: str, parameter: str, options: dict[str, object]
) -> None:
    name = user_module(f"{head}{HEAD}class Net(Toy):\n    def __init__(self, {parameter}): self.a = a\n")
    assert build(section(f"{name}:Net", **options)) is not None


def test_an_option_of_two_types_is_named_by_the_key_that_the_user_wrote(user_module: UserModule) -> None:
    name = user_module(HEAD + "class Net(Toy):\n    def __init__(self, size: int | str = 1): pass\n")
    message = refusal(section(f"{name}:Net", size=1.5))
    assert "workload.options.size: " in message
    assert not re.search(r"options\.size\.(int|str)", message)


def test_importing_a_users_module_leaves_the_import_path_alone(user_module: UserModule) -> None:
    before = list(sys.path)
    build(section(f"{user_module(HEAD + 'class Net(Toy): pass')}:Net"))
    assert sys.path == before
