"""The offline files of Weights & Biases, read by its own protocol."""

from pathlib import Path

import pytest

pytest.importorskip("wandb", reason="Weights & Biases is not installed: pip install wandb")

import wandb

from tests.trackers.readers import wandb_curves, wandb_records, wandb_rows
from tests.trackers.stories import LOSSES_OF_BEST_LINE, LOSSES_OF_SLOT_1, RECORDS, story, tell


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def told(run: Path, steps: int = RECORDS, **options: object) -> None:
    """Tell a tracker the story, and end the library's own process, as the end of ours does."""
    tell("wandb", run, story(), steps, **options).close()
    wandb.teardown()


def test_slots_generations_and_the_best_line_are_in_the_history(tmp_path: Path) -> None:
    told(tmp_path)
    curves = wandb_curves(tmp_path)
    assert curves["slot001/fom"] == [(0, 3.0), (1, 0.75), (2, 0.125)]
    assert curves["slot003/fom"] == [(0, 1.0), (2, 1.25)]
    assert curves["slot000/hyperparameters/layers"] == [(0, 1), (1, 2), (2, 3)]
    assert curves["population/median"] == [(0, 2.5), (1, 0.75), (2, 0.3125)]
    assert curves["best_line/fom"] == [(0, 1.0), (1, 0.75), (2, 0.125)]
    assert curves["epochs/train_loss"] == [(3, 0.5), (4, 0.25)]
    histograms = [sum(row["foms/values"]) for row in wandb_rows(tmp_path) if "foms/values" in row]
    assert histograms == [4, 3, 4]


def test_losses_within_epochs_are_drawn_over_the_steps_of_training(tmp_path: Path) -> None:
    told(tmp_path)
    curves = wandb_curves(tmp_path)
    assert curves["losses/train_loss/slot001"] == LOSSES_OF_SLOT_1
    assert curves["losses/train_loss/best_line"] == LOSSES_OF_BEST_LINE
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    metrics = [one.metric for one in wandb_records(file) if one.WhichOneof("record_type") == "metric"]
    assert {one.glob_name: one.step_metric for one in metrics}["losses/*"] == "training_step"


def test_the_config_says_what_the_run_is(tmp_path: Path) -> None:
    told(tmp_path, project="mine")
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    (run,) = [one.run for one in wandb_records(file) if one.WhichOneof("record_type") == "run"][:1]
    assert (run.project, run.display_name) == ("mine", "small")
    config = {item.key: item.value_json for item in run.config.update}
    assert (config["search.strategy"], config["run.seed"]) == ('"tri_parent"', "7")


@pytest.mark.parametrize("steps", [2, 9, RECORDS])
def test_begun_again_it_has_everything_once(tmp_path: Path, steps: int) -> None:
    told(tmp_path / "killed", steps)
    told(tmp_path / "killed")
    told(tmp_path / "whole")
    assert wandb_curves(tmp_path / "killed") == wandb_curves(tmp_path / "whole")
