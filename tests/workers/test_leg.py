"""The result of an attempt: done, diverged, failed, or an error that another attempt may not have."""

import json
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import Outcome, WorkUnit
from tests.workers.conftest import UserModule
from tests.workers.toys import (
    HYPERPARAMETERS,
    TOY,
    Toy,
    assignment,
    files,
    job,
    prepared,
    run_one,
    section,
    trained,
)
from workers import unit
from workers.examine import examine
from workers.hyperparameters import Hyperparameters
from workers.leg import ERROR_TAIL_CHARACTERS
from workers.workload import Batch

HERE = "tests.workers.test_leg"
HEAD = "from tests.workers.toys import Toy\nclass Net(Toy):\n"


class NanLoss(Toy):
    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        return super().loss(model, batch, hp) * math.nan


class Reports(Toy):
    """Reports the metrics that its option gives."""

    def __init__(self, given: dict[str, float]) -> None:
        super().__init__()
        self.given = given

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        return self.given


def run(directory: Path, use: str = TOY, **options: Any) -> Outcome:
    return run_one(job(directory, section(use, **options)), assignment())


def test_an_attempt_that_goes_well_is_done_and_has_its_fom_its_metrics_and_its_checkpoint(
    tmp_path: Path,
) -> None:
    outcome = run(tmp_path)
    assert outcome.status == "done"
    assert outcome.error is None
    assert outcome.metrics.keys() == {"train_loss", "validation_loss", "validation_accuracy"}
    assert outcome.fom == outcome.metrics["validation_loss"]
    assert outcome.seconds.keys() == {"wait", "prepare", "load", "train", "eval", "save"}
    assert outcome.epochs == ()
    assert outcome.checkpoint
    assert outcome.checkpoint.name.startswith("g0s0-a1-")
    assert outcome.checkpoint.name.endswith(".safetensors")


def test_the_published_checkpoint_is_the_member_as_it_was_trained(tmp_path: Path) -> None:
    outcome = run(tmp_path)
    assert outcome.checkpoint
    (file,) = files(tmp_path)
    assert file == tmp_path / "params" / outcome.checkpoint.name
    data = CheckpointStore(str(tmp_path / "params")).read(outcome.checkpoint)
    assert data == trained(prepared(Toy()))


def test_the_training_loss_is_the_mean_over_the_batches(tmp_path: Path) -> None:
    toy = prepared(Toy())
    losses = list(toy.train(toy.begin(HYPERPARAMETERS, 7, None)))
    assert len(losses) == 6
    assert run(tmp_path).metrics["train_loss"] == pytest.approx(float(sum(losses)) / 6, rel=1e-6)


def test_an_outcome_crosses_process_borders_unchanged(tmp_path: Path) -> None:
    for outcome in (run(tmp_path), run(tmp_path, f"{HERE}:NanLoss"), run(tmp_path, TOY, width=1)):
        assert repr(pickle.loads(pickle.dumps(outcome))) == repr(outcome)  # NaN is not equal to itself
        data = json.dumps(outcome.to_json(), allow_nan=False)
        assert repr(Outcome.from_json(json.loads(data))) == repr(outcome)


def test_a_loss_that_is_nan_makes_a_diverged_member_without_fom_or_checkpoint(tmp_path: Path) -> None:
    outcome = run(tmp_path, f"{HERE}:NanLoss")
    assert outcome.status == "diverged"
    assert outcome.fom is None
    assert outcome.checkpoint is None
    assert outcome.error is None
    assert math.isnan(outcome.metrics["train_loss"])
    assert math.isfinite(outcome.metrics["validation_accuracy"])
    assert "validation_loss is nan" in outcome.notes


def test_an_objective_with_weights_is_the_weighted_sum_and_is_reported_with_the_rest(tmp_path: Path) -> None:
    weights = {"validation_loss": 0.1, "validation_other": 0.9}

    def outcome(**given: float) -> Outcome:
        about = job(tmp_path, section(f"{HERE}:Reports", given=given), metric="fitness", weights=weights)
        return run_one(about, assignment())

    good = outcome(loss=2.0, other=3.0)
    assert good.fom == good.metrics["fitness"] == pytest.approx(2.9)
    assert good.metrics["validation_other"] == 3.0
    assert outcome(loss=2.0, other=math.nan).status == "diverged"
    assert "not the objective 'validation_other'" in str(outcome(loss=2.0).error)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_not_finite_is_divergence_and_another_metric_is_not(
    tmp_path: Path, value: float
) -> None:
    diverged = run(tmp_path, f"{HERE}:Reports", given={"loss": value, "other": 1.0})
    assert diverged.status == "diverged"
    assert diverged.notes == (f"validation_loss is {value}",)
    done = run(tmp_path, f"{HERE}:Reports", given={"loss": 1.0, "other": value})
    assert done.status == "done"
    assert done.fom == 1.0
    assert str(done.metrics["validation_other"]) == str(value)
    assert done.notes == (f"validation_other is {value}",)
    assert run(tmp_path).notes == ()


@pytest.mark.parametrize(
    "method", ["model(self)", "loss(self, model, batch, hp)", "metrics(self, model, batch)"]
)
def test_what_a_workload_raises_is_a_failed_outcome_with_the_traceback_to_the_users_line(
    tmp_path: Path, user_module: UserModule, method: str
) -> None:
    name = user_module(f"{HEAD}    def {method}:\n        raise ValueError('odd width')\n")
    outcome = run(tmp_path, f"{name}:Net")
    assert (outcome.status, outcome.fom, outcome.checkpoint) == ("failed", None, None)
    assert outcome.error
    assert f'{name}.py", line 4, in {method.partition("(")[0]}' in outcome.error
    assert "raise ValueError('odd width')" in outcome.error
    assert outcome.error.rstrip().endswith("ValueError: odd width")


def test_of_a_long_error_the_end_is_kept(tmp_path: Path, user_module: UserModule) -> None:
    text = f"{HEAD}    def model(self):\n        raise ValueError('odd ' * 10000 + 'width')\n"
    error = run(tmp_path, f"{user_module(text)}:Net").error
    assert error
    assert len(error) == ERROR_TAIL_CHARACTERS
    assert error.rstrip().endswith("odd width")


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        (section("nowhere:Net"), "cannot import 'nowhere'"),
        (section(TOY, width=1), "workload.options.width: "),
    ],
)
def test_a_workload_that_this_worker_cannot_build_is_a_failed_outcome(
    tmp_path: Path, workload: dict[str, Any], message: str
) -> None:
    outcome = run_one(job(tmp_path, workload), assignment())
    assert outcome.status == "failed"
    assert message in (outcome.error or "")


def test_a_hyperparameter_that_is_missing_is_a_failed_outcome_with_its_name(tmp_path: Path) -> None:
    outcome = run_one(job(tmp_path), assignment(hyperparameters={"learning_rate": 0.1}))
    assert outcome.status == "failed"
    assert (
        "reads the hyperparameter 'momentum', which search.loci does not define; it defines learning_rate"
        in (outcome.error or "")
    )


def test_an_objective_that_is_not_reported_is_a_failed_outcome_with_the_metrics_there_are(
    tmp_path: Path,
) -> None:
    outcome = run_one(job(tmp_path, metric="validation_error"), assignment())
    assert outcome.status == "failed"
    assert "train_loss, validation_loss, validation_accuracy" in (outcome.error or "")
    assert "'validation_error'" in (outcome.error or "")


@pytest.mark.parametrize("error", ["FileNotFoundError", "ConnectionResetError", "OSError", "TimeoutError"])
@pytest.mark.parametrize("method", ["data(self, root)", "loss(self, model, batch, hp)"])
def test_a_failing_disk_is_a_loss_and_no_outcome_so_that_another_attempt_is_made(
    tmp_path: Path, user_module: UserModule, error: str, method: str
) -> None:
    name = user_module(f"{HEAD}    def {method}: raise {error}('the disk is away')\n")
    with pytest.raises(OSError, match=f"^{error}: the disk is away"):
        run(tmp_path, f"{name}:Net")


def test_a_checkpoint_that_cannot_be_published_is_a_loss_and_no_outcome_so_that_another_attempt_is_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "params").write_text("a file where the directory should be")
    with pytest.raises(OSError, match="params"):
        run(tmp_path)


@pytest.mark.parametrize("method", ["data(self, root)", "model(self)", "loss(self, model, batch, hp)"])
@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException"])
def test_whatever_else_a_workload_raises_is_a_failed_outcome_with_its_traceback(
    error: str, method: str, tmp_path: Path, user_module: UserModule
) -> None:
    name = user_module(f"{HEAD}    def {method}: raise {error}('no such width')\n")
    outcome = run(tmp_path, f"{name}:Net")
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.startswith("Traceback")
    assert outcome.error.endswith(f"{error}: no such width\n")


@pytest.mark.parametrize(
    ("raised", "cause"),
    [
        ("OSError('the device is on fire')", "raised"),
        ("FileNotFoundError(2, 'no such file')", "raised"),
        ("OSError(28, 'no space left on device')", "disk"),
        ("ConnectionResetError('the peer is gone')", "disk"),
        ("Broken('another rank is gone')", "worker"),
    ],
)
def test_a_worker_says_whose_fault_it_was_that_an_attempt_was_lost(
    raised: str, cause: str, tmp_path: Path, user_module: UserModule
) -> None:
    source = f"from workers.gang import Broken\n{HEAD}    def model(self): raise {raised}\n"
    reports: list[Any] = []
    unit.carry_out(
        WorkUnit(job(tmp_path, section(f"{user_module(source)}:Net")), [assignment()]), reports.append
    )
    assert [report.get("cause") for report in reports] == [None, cause]


def test_a_store_that_fails_is_a_disk_that_fails(tmp_path: Path) -> None:
    (tmp_path / "params").write_text("a file where the directory should be")
    reports: list[Any] = []
    unit.carry_out(WorkUnit(job(tmp_path, section(TOY)), [assignment()]), reports.append)
    assert [report.get("cause") for report in reports] == [None, "disk"]


def test_a_member_is_trained_with_the_threads_that_its_job_says(tmp_path: Path) -> None:
    assert torch.get_num_threads() == 1
    outcome = run_one(job(tmp_path, threads=2), assignment())
    assert torch.get_num_threads() == 2
    assert outcome.checkpoint
    examine(job(tmp_path, threads=1), outcome.checkpoint, HYPERPARAMETERS, str(tmp_path / "exhibits"))
    assert torch.get_num_threads() == 1


def test_a_published_checkpoint_is_examined_on_the_test_split(tmp_path: Path) -> None:
    outcome = run(tmp_path)
    assert outcome.checkpoint
    exhibits = tmp_path / "exhibits"
    test = examine(job(tmp_path), outcome.checkpoint, HYPERPARAMETERS, str(exhibits))
    assert test.keys() == {"test_loss", "test_accuracy"}
    assert test["test_loss"] != outcome.metrics["validation_loss"]
    assert not exhibits.exists()


def test_of_the_test_split_metrics_that_are_not_finite_are_told_as_such(tmp_path: Path) -> None:
    outcome = run(tmp_path)
    assert outcome.checkpoint
    given = {"loss": math.inf, "accuracy": math.nan, "error": 0.5}
    about = job(tmp_path, section(f"{HERE}:Reports", given=given))
    told = examine(about, outcome.checkpoint, HYPERPARAMETERS, str(tmp_path))
    assert repr(told) == "{'test_loss': inf, 'test_accuracy': nan, 'test_error': 0.5}"


def test_a_workload_shows_its_exhibits_of_the_checkpoint(tmp_path: Path) -> None:
    shows = job(tmp_path, section("tests.workers.toys:Showing"))
    outcome = run_one(shows, assignment())
    assert outcome.checkpoint
    for _ in range(2):  # a second examination replaces what the first wrote
        examine(shows, outcome.checkpoint, HYPERPARAMETERS, str(tmp_path / "exhibits"))
    ((name, text),) = [(path.name, path.read_text()) for path in (tmp_path / "exhibits").iterdir()]
    assert name == "weights.txt"
    model = safetensors.torch.load_file(tmp_path / "params" / outcome.checkpoint.name)
    assert text == repr([float(model[key].sum()) for key in sorted(model) if key.startswith("model.")])


def test_a_workload_without_a_test_split_has_no_test_figures(tmp_path: Path) -> None:
    outcome = run(tmp_path)
    assert outcome.checkpoint
    without = job(tmp_path, section("tests.workers.toys:Numbered"))
    assert examine(without, outcome.checkpoint, HYPERPARAMETERS, str(tmp_path / "exhibits")) == {}
