"""Saying, before a run begins, whether its workload works."""

import importlib
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from evodevo.errors import UsageError
from tests.golden import assert_golden, raises_golden
from tests.workers.conftest import UserModule
from tests.workers.toys import HYPERPARAMETERS, TOY, job, prepared, section
from workers import state
from workers.describe import describe

HEAD = "from tests.workers.toys import Toy\nclass Net(Toy):\n"


def refusal(directory: Path, workload: dict[str, Any], hp: Any = HYPERPARAMETERS, **changed: Any) -> str:
    with pytest.raises(UsageError) as caught:
        describe(job(directory, workload, **changed), [hp])
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_workload_that_works_is_described_without_a_warning(tmp_path: Path) -> None:
    about = describe(job(tmp_path), [HYPERPARAMETERS])
    assert {len(digest) for digest in about.pop("data").values()} == {16}
    assert about == {
        "facts": ["83 parameters on cpu", "examples: train 100, validation 30, test 20"],
        "warnings": [],
        "metrics": ["validation_loss", "validation_accuracy"],
        "torch": torch.__version__,
    }
    assert type(about["torch"]) is str  # unpickling torch's own type would import torch
    assert list(tmp_path.iterdir()) == []


def test_a_metric_that_is_not_reported_is_named_with_those_that_are(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(), metric="accurate")
    assert message.startswith("objective.metric: ")
    assert_golden("describe/metric", message)


def test_weights_are_of_metrics_that_are_reported_and_their_sum_is_none_of_them(tmp_path: Path) -> None:
    good = {"validation_loss": -1.0, "validation_accuracy": 1.0}
    assert describe(job(tmp_path, metric="fitness", weights=good), [HYPERPARAMETERS])["warnings"] == []
    message = refusal(tmp_path, section(), metric="fitness", weights={"accuracy": 1.0})
    assert message.startswith("objective.weights: ")
    assert_golden("describe/weights", message)
    message = refusal(tmp_path, section(), metric="validation_accuracy", weights={"validation_loss": 1.0})
    assert_golden("describe/sum-named-like-a-metric", message)
    message = refusal(tmp_path, section(), metric="train_loss", weights={"validation_loss": 1.0})
    assert_golden("describe/sum-named-like-a-training-metric", message)


def test_a_hyperparameter_that_no_locus_gives_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(), {"learning_rate": 0.1, "moment": 0.9})
    assert message.startswith(f"{TOY}: ")
    assert_golden("describe/hyperparameter-missing", message)


def test_a_hyperparameter_that_the_workload_never_reads_is_a_warning(tmp_path: Path) -> None:
    about = describe(job(tmp_path), [{**HYPERPARAMETERS, "dropout": 0.5}])
    (warning,) = about["warnings"]
    assert_golden("describe/hyperparameter-not-read", warning)


@pytest.mark.parametrize(
    ("name", "line", "rates"),
    [
        ("loss", "loss = lambda self, *given: Toy.loss(self, *given) * float('nan')", [0.05, 0.1]),
        ("one-of-two", "pass", [0.05, 1e30]),
        ("first-of-two", "pass", [1e30, 0.05]),
        ("metric", "metrics = lambda self, *given: {'loss': float('inf')}", [0.05, 0.1]),
    ],
)
def test_a_check_warns_of_founders_that_diverge_and_refuses_none(
    name: str, line: str, rates: list[float], user_module: UserModule, tmp_path: Path
) -> None:
    workload = section(f"{user_module(f'{HEAD}    {line}')}:Net")
    founders = [{**HYPERPARAMETERS, "learning_rate": rate} for rate in rates]
    assert describe(job(tmp_path, workload), founders)["warnings"] == []
    (warning,) = describe(job(tmp_path, workload), founders, twice=True)["warnings"]
    assert_golden(f"describe/not-finite/{name}", warning)


def test_a_check_of_founders_that_train_well_or_fail_warns_of_nothing(
    user_module: UserModule, tmp_path: Path
) -> None:
    fails = "    def setup(self, training): 1 / (training.hyperparameters['learning_rate'] < 1)"
    workload = section(f"{user_module(HEAD + fails)}:Net")
    founders = [HYPERPARAMETERS, {**HYPERPARAMETERS, "learning_rate": 2.0}]
    assert describe(job(tmp_path, workload), founders, twice=True)["warnings"] == []


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("def __init__(self): raise ValueError('odd width')", 3),
        ("def data(self, root): raise ValueError('odd width')", 3),
        ("def model(self): raise ValueError('odd width')", 3),
        ("def optimizer(self, model, hp):\n        raise ValueError('odd width')", 4),
        ("def loss(self, model, batch, hp):\n\n        raise ValueError('odd width')", 5),
        ("def metrics(self, model, batch): raise ValueError('odd width')", 3),
    ],
    ids=["init", "data", "model", "optimizer", "loss", "metrics"],
)
def test_what_a_workload_raises_is_said_with_its_reason_its_file_and_its_line(
    user_module: UserModule, tmp_path: Path, method: str, line: int
) -> None:
    name = user_module(f"{HEAD}    {method}\n")
    function = re.match(r"def (\w+)", method)
    assert function
    message = refusal(tmp_path, section(f"{name}:Net"))
    assert f"{tmp_path / name}.py:{line})" in message
    place = f"in {function[1]}, {tmp_path / name}.py:{line}"
    assert_golden("describe/raises", message, place=place, module=name)


def test_what_a_loaders_processes_cannot_have_is_said_with_where_it_has_to_be(
    user_module: UserModule, tmp_path: Path
) -> None:
    problem = "AttributeError(\"Can't pickle local object 'f.<locals>.<lambda>'\")"  # as pickle raises it
    name = user_module(f"{HEAD}    def loss(self, model, batch, hp): raise {problem}\n")
    message = refusal(tmp_path, section(f"{name}:Net"))
    assert_golden("describe/not-pickled", message, tmp_path, module=name)


def test_what_a_library_raises_is_said_with_the_line_of_the_workload_that_called_it(
    user_module: UserModule, tmp_path: Path
) -> None:
    name = user_module(
        f"{HEAD}    def loss(self, model, batch, hp):\n        return model(batch[0][:, :2]).sum()\n"
    )
    message = refusal(tmp_path, section(f"{name}:Net"))
    assert "shapes cannot be multiplied" in message
    assert f"{name}.py:4" in message


@pytest.mark.parametrize("root", ["nowhere", "empty"])
def test_missing_data_is_named_with_the_directory_and_the_files_that_should_be_there(
    tmp_path: Path, root: str
) -> None:
    (tmp_path / "empty").mkdir()
    message = refusal(tmp_path, section("workers.workloads.lenet:LeNet"), data_root=str(tmp_path / root))
    assert message.startswith(f"data.root: {tmp_path / root} ")
    assert_golden("describe/no-data", message, root=tmp_path / root)


def test_what_cannot_be_built_is_refused_with_the_builders_own_message(tmp_path: Path) -> None:
    assert refusal(tmp_path, section(TOY, batchsize=1)).startswith("workload.options.batchsize: ")


@pytest.mark.parametrize(
    "size",
    [
        0,
        -5,
    ],
)
def test_a_batch_size_that_cannot_be_is_refused_by_its_name(tmp_path: Path, size: int) -> None:
    assert "batch_size" in refusal(tmp_path, section(TOY, batch_size=size))


def test_a_good_command_is_described_without_running_it(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    about = describe(job(tmp_path, section(command=["touch", str(ran)]), metric="fom"), [HYPERPARAMETERS])
    (fact,) = about["facts"]
    assert_golden("describe/command", fact, tmp_path)
    assert about["warnings"] == []
    assert about["metrics"] == ["fom"]
    assert not ran.exists()


def test_the_steps_of_a_command_cannot_be_counted(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(command="true"), metric="fom", steps=100)
    assert message.startswith("search.steps_per_generation: ")
    assert_golden("describe/steps-of-a-command", message)
    assert describe(job(tmp_path, steps=100), [HYPERPARAMETERS])["warnings"] == []


def test_a_command_that_keeps_nothing_trains_one_epoch_a_leg(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(command="true"), metric="fom", longest_leg=3)
    assert message.startswith("search.epochs_per_generation: ")
    assert_golden("describe/command-without-checkpoints", message)
    keeping = section(command=["true", "{checkpoint_in}", "{checkpoint_out}"])
    assert describe(job(tmp_path, keeping, metric="fom", longest_leg=3), [HYPERPARAMETERS])["metrics"] == [
        "fom"
    ]
    assert describe(job(tmp_path, section(command="true"), metric="fom"), [HYPERPARAMETERS])["warnings"] == []
    assert describe(job(tmp_path, longest_leg=3), [HYPERPARAMETERS])["warnings"] == []


def test_a_missing_program_is_named_with_the_directory_it_was_sought_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(tmp_path, section(command="./tran.sh --fast"), metric="fom")
    assert message.startswith("workload.command: ")
    assert_golden("describe/no-program", message, tmp_path)


def test_a_placeholder_that_no_locus_fills_is_named_with_those_that_can_be(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(command="echo {rate}"), {"learning_rate": 0.1}, metric="fom")
    assert message.startswith("workload.command: ")
    assert_golden("describe/placeholder", message)


@pytest.mark.parametrize("name", ["checkpoint_in", "checkpoint_out", "seed", "epoch_dir", "data_root"])
def test_a_locus_named_like_one_of_the_commands_own_placeholders_is_refused(
    tmp_path: Path, name: str
) -> None:
    message = refusal(tmp_path, section(command="echo"), {"rate": 0.1, name: 1}, metric="fom")
    assert message.startswith(f"search.loci.{name}: ")
    assert_golden("describe/locus-named-like-a-placeholder", message, locus=name)


def test_a_brace_that_is_never_closed_is_refused_with_the_way_to_write_one(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(command="echo {rate"), metric="fom")
    assert message.startswith("workload.command: ")
    assert_golden("describe/open-brace", message)


def test_braces_of_the_programs_own_are_refused_with_the_way_to_write_them(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(command=["awk", "{print $1}"]), metric="fom")
    assert message.startswith("workload.command: ")
    assert_golden("describe/brace-of-awk", message)


def test_a_quote_that_is_never_closed_is_refused_as_a_fault_of_the_command(tmp_path: Path) -> None:
    assert refusal(tmp_path, section(command="echo 'a"), metric="fom").startswith("workload.command: ")


def test_a_number_format_in_a_placeholder_is_refused_as_a_fault_of_the_command(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(command="echo {learning_rate:.3f}"), metric="fom")
    assert message.startswith("workload.command: ")


def test_a_command_has_no_metric_but_its_fom(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(command="true"))
    assert message.startswith("objective.metric: ")
    assert_golden("describe/metric-of-a-command", message)


def test_the_text_of_a_users_module_does_not_matter_to_the_place(
    user_module: UserModule, tmp_path: Path
) -> None:
    text = textwrap.dedent(
        """
        from tests.workers.toys import Toy
        def inner(): return {}["absent"]
        class Net(Toy):
            def model(self): return inner()
        """
    )
    name = user_module(text)
    message = refusal(tmp_path, section(f"{name}:Net"))
    assert message.endswith(f"KeyError: 'absent' (in inner, {tmp_path / name}.py:3)")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s4://bucket/run", "s4"),
        ("gs://bucket/run", "gcsfs"),
        ("{file}/params", "Not a directory"),
    ],
)
def test_where_no_checkpoints_can_be_kept_nothing_else_is_tried(
    tmp_path: Path, url: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    url = url.format(file=tmp_path / "file")
    message = refusal(tmp_path, section("nowhere:Nothing"), checkpoints_url=url)
    assert message.startswith("checkpoints.url: ")
    assert url in message
    assert reason in message


def described(tmp_path: Path, module: str, *founders: dict[str, Any], metric: str = "validation_loss") -> Any:
    """Facts of the class `Own` of a user's module."""
    return describe(job(tmp_path, section(f"{module}:Own"), metric=metric), founders or (HYPERPARAMETERS,))


OWN = """
import torch
from torch import nn
from tests.workers.toys import Toy
from workers.workload import Splits

class Own(Toy):
"""


def test_a_locus_that_changes_shapes_is_refused_if_a_child_would_inherit_across_it(
    tmp_path: Path, user_module: UserModule
) -> None:
    module = user_module(
        OWN
        + """
    def model_of(self, hp):
        return nn.Sequential(nn.Linear(4, hp["width"]), nn.Linear(hp["width"], 3))
"""
    )
    founders = [{**HYPERPARAMETERS, "width": width} for width in (8, 8, 16)]
    assert described(tmp_path, module, *founders[:2])["metrics"]
    with raises_golden("describe/shapes", UsageError, tmp_path, module=module) as caught:
        described(tmp_path, module, *founders)
    assert "mutate_best" in str(caught.value)


def test_metrics_that_only_an_own_evaluate_has_count(tmp_path: Path, user_module: UserModule) -> None:
    module = user_module(
        OWN
        + """
    def metrics(self, model, batch):
        raise NotImplementedError

    def evaluate(self, training, split):
        with training.evaluating() as model, torch.no_grad():
            right = [(model(x).argmax(1) == y) for x, y in self.evaluation_batches(split)]
        return {f"{split}_f1": float(torch.cat(right).double().mean())}
"""
    )
    assert described(tmp_path, module, metric="validation_f1")["metrics"] == ["validation_f1"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("metric-without-split", "    def evaluate(self, training, split):\n        return {'f1': 1.0}"),
        ("evaluate-raises", "    def evaluate(self, training, split):\n        1 / 0"),
        ("no-loss", "    def loss(self, model, batch, hp):\n        model(batch[0])"),
        ("no-splits", "    def data(self, root):\n        return (1, 2)"),
    ],
)
def test_what_would_fail_later_is_refused_with_what_to_do(
    name: str, body: str, tmp_path: Path, user_module: UserModule
) -> None:
    module = user_module(OWN + body)
    with raises_golden(f"describe/later/{name}", UsageError, tmp_path, module=module):
        described(tmp_path, module)


def test_a_name_that_is_nearly_one_of_the_workloads_is_warned_of(
    tmp_path: Path, user_module: UserModule
) -> None:
    module = user_module(OWN + "    clip_nrom = 1.0\n    own_thing = 2\n")
    (warning,) = described(tmp_path, module)["warnings"]
    assert_golden("describe/nearly-a-name-of-the-workload", warning)


def test_the_name_of_a_metric_without_its_split_is_understood(tmp_path: Path) -> None:
    assert_golden("describe/metric-without-split", refusal(tmp_path, section(), metric="accuracy"))


def test_torchs_average_as_training_averaged_is_judged_and_exported(
    tmp_path: Path, user_module: UserModule
) -> None:
    module = user_module(
        OWN
        + """
    def setup(self, training):
        training.averaged = torch.optim.swa_utils.AveragedModel(training.model)
"""
    )
    assert described(tmp_path, module)["warnings"] == []
    workload = prepared(importlib.import_module(module).Own())
    training = workload.begin(HYPERPARAMETERS, 7, None)
    for _ in workload.train(training):
        pass
    found = state.model_state(workload.checkpoint(training))
    for name, value in training.averaged.module.state_dict().items():
        assert torch.equal(found[name], value)
    assert not torch.equal(found["0.weight"], training.model.get_parameter("0.weight"))


def test_what_is_kept_in_self_from_step_to_step_is_refused_if_members_are_to_take_turns(
    tmp_path: Path, user_module: UserModule
) -> None:
    """It is reset for each epoch, which is good enough for members that are trained one after the other."""
    text = (
        f"{HEAD}    def train(self, training):\n"
        "        self.count = 0\n        yield from super().train(training)\n"
        "    def loss(self, model, batch, hp):\n        self.count += 1\n"
        "        return super().loss(model, batch, hp) * self.count\n"
    )
    module = user_module(text)
    workload = section(f"{module}:Net")
    assert describe(job(tmp_path, workload), [HYPERPARAMETERS])["warnings"] == []
    message = refusal(tmp_path, workload, members_per_device=3)
    assert message.startswith("cluster.members_per_device: ")
    assert_golden("describe/turns", message, tmp_path, module=module)
    assert describe(job(tmp_path, members_per_device=3), [HYPERPARAMETERS])["warnings"] == []
