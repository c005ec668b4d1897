"""TensorBoard's own loader reads what the tracker has written."""

from pathlib import Path

import pytest

pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata

from tests.trackers.readers import curves_of, tensorboard_curves
from tests.trackers.stories import (
    LOSSES_OF_BEST_LINE,
    LOSSES_OF_SLOT_1,
    RECORDS,
    from_scratch,
    story,
    tell,
)


def whole(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """What a tracker that nothing happened to has written of the story."""
    pen = story()
    tell("tensorboard", directory, pen, len(pen.records)).close()
    return tensorboard_curves(directory / "tensorboard")


def test_each_slot_has_its_curves_and_the_best_line_its_own(tmp_path: Path) -> None:
    curves = whole(tmp_path)
    assert curves["slot001/fom"] == [(0, 3.0), (1, 0.75), (2, 0.125)]
    assert curves["slot003/fom"] == [(0, 1.0), (2, 1.25)]  # g001s003 diverged
    assert curves["slot000/metrics/validation_loss"] == [(0, 4.0), (1, 0.5), (2, 0.25)]
    assert curves["slot000/hyperparameters/layers"] == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert curves["slot000/hyperparameters/optimizer"] == [(0, 0.0), (1, 0.0), (2, 0.0)]
    assert curves["best_line/fom"] == [(0, 1.0), (1, 0.75), (2, 0.125)]
    assert curves["best_line/epochs/train_loss"] == [(3, 0.5), (4, 0.25)]


def test_losses_within_epochs_are_curves_over_steps_of_a_slot_and_of_the_best_line(
    tmp_path: Path,
) -> None:
    curves = whole(tmp_path)
    assert curves["slot001/losses/train_loss"] == LOSSES_OF_SLOT_1
    assert curves["best_line/losses/train_loss"] == LOSSES_OF_BEST_LINE


def test_the_population_has_its_best_its_median_its_failures_and_the_test(tmp_path: Path) -> None:
    curves = whole(tmp_path)
    assert curves["population/best"] == [(0, 1.0), (1, 0.5), (2, 0.125)]
    assert curves["population/median"] == [(0, 2.5), (1, 0.75), (2, 0.3125)]
    assert curves["population/worst"] == [(0, 4.0), (1, 1.5), (2, 1.25)]
    assert curves["population/unsuccessful"] == [(0, 0.0), (1, 1.0), (2, 0.0)]
    assert curves["population/test/accuracy"] == [(2, 0.875)]


def test_the_histogram_of_a_generation_has_all_its_foms(tmp_path: Path) -> None:
    whole(tmp_path)
    loaded = EventAccumulator(str(tmp_path / "tensorboard" / "population"), {"histograms": 0})
    loaded.Reload()
    histograms = [(event.step, event.histogram_value) for event in loaded.Histograms("foms")]
    assert [(step, one.num, one.min, one.max) for step, one in histograms] == [
        (0, 4, 1.0, 4.0),
        (1, 3, 0.5, 1.5),
        (2, 4, 0.125, 1.25),
    ]
    assert [sum(one.bucket) for _, one in histograms] == [4, 3, 4]


@pytest.mark.parametrize("steps", range(1, RECORDS))
def test_killed_after_any_record_and_begun_again_it_has_everything_once(tmp_path: Path, steps: int) -> None:
    pen = story()
    assert len(pen.records) == RECORDS
    tell("tensorboard", tmp_path / "killed", pen, steps)
    for file in (tmp_path / "killed" / "tensorboard").rglob("events.*"):
        file.write_bytes(file.read_bytes()[:-5])  # the last record was being written
    tell("tensorboard", tmp_path / "killed", pen, len(pen.records))
    assert tensorboard_curves(tmp_path / "killed" / "tensorboard") == whole(tmp_path / "whole")


def test_a_tensorboard_that_is_open_meanwhile_shows_everything_once(tmp_path: Path) -> None:
    pen = story()
    tell("tensorboard", tmp_path, pen, RECORDS - 3)
    shown = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert curves_of(shown)["slot001/fom"]
    tell("tensorboard", tmp_path, pen, len(pen.records))
    shown.AddRunsFromDirectory(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert curves_of(shown) == whole(tmp_path / "whole")


def test_members_from_scratch_are_trials_with_their_hyperparameters(tmp_path: Path) -> None:
    pen = from_scratch()
    tell("tensorboard", tmp_path, pen, len(pen.records), members=3)
    loaded = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "tensorboard" / "members"))
    loaded.Reload()
    assert loaded.Runs().keys() == {"g000s000", "g000s001", "g001s000"}
    started = loaded.SummaryMetadata("g000s001", metadata.SESSION_START_INFO_TAG)
    trial = metadata.parse_session_start_info_plugin_data(started.plugin_data.content)
    assert trial.hparams["optimizer"].string_value == "sgd"
    assert trial.hparams["momentum"].number_value == 0.9
    assert [(event.step, event.value) for event in loaded.Scalars("g000s001", "fom")] == [(0, 1.0)]
    losses = loaded.Scalars("g001s000", "losses/train_loss")
    assert [(event.step, event.value) for event in losses] == [(2, 1.0), (4, 0.5)]


def test_the_files_of_others_in_a_given_directory_are_left_alone(tmp_path: Path) -> None:
    others = tmp_path / "logs" / "run" / "events.out.tfevents.1.host"
    others.parent.mkdir(parents=True)
    others.write_bytes(b"")
    tell("tensorboard", tmp_path / "run", story(), 6, directory=str(tmp_path / "logs"))
    assert others.exists()
    assert (tmp_path / "logs" / "run" / "slot000").is_dir()


def test_files_of_before_are_emptied_and_then_deleted(tmp_path: Path) -> None:
    def sizes() -> list[bool]:
        """For each file of a slot, oldest first, whether there is anything in it."""
        found = sorted((tmp_path / "tensorboard" / "slot000").iterdir())
        return [path.stat().st_size > 0 for path in found]

    for expected in ([True], [False, True], [False, True]):
        tell("tensorboard", tmp_path, story(), RECORDS)
        assert sizes() == expected
