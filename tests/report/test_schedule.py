"""The schedule of a member, and schedule.yaml."""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo import Schedule as PublicSchedule
from evodevo.report.schedule import Entry, Schedule
from evodevo.run.history import History
from tests.configs import complaint
from tests.run.fakes import config_of, finished
from tests.run.handmade import Pen, checkpoint

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | NUMBERS
    | st.sampled_from(["adam", "true", "1.5", "", "é: - #"])
)
VALUES = SCALARS | st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
GENOMES = st.dictionaries(st.sampled_from(["rate", "layers", "on", "x y"]), VALUES, min_size=1)
DIGEST = hashlib.sha256(b"").hexdigest()


def entry(number: int, genome: dict[str, Any], hyperparameters: dict[str, Any] | None = None) -> Entry:
    return Entry(
        f"g{number:03d}s000", number, 0.5, genome if hyperparameters is None else hyperparameters, genome
    )


def schedule_of(*entries: Entry, **changes: Any) -> Schedule:
    return replace(Schedule("small", "g001s000", "validation_loss", 0.25, DIGEST, list(entries)), **changes)


def written(schedule: Schedule, folder: Path) -> Schedule:
    """The schedule after a way through its file."""
    path = folder / "schedule.yaml"
    path.write_text(schedule.to_yaml(), encoding="utf-8")
    return Schedule.load(path)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    config = config_of(search__options={"mutation_rate": 0.5})
    return finished(tmp_path_factory.mktemp("schedule") / "run", config)


def best_schedule(history: History) -> Schedule:
    assert history.best is not None
    return Schedule.of(history, history.best)


def test_the_schedule_of_a_member_has_an_entry_for_each_member_of_its_line(history: History) -> None:
    for life in history.lives():
        schedule = Schedule.of(history, life)
        line = history.line(life)
        assert schedule.epochs == life.epoch + 1 == len(line)
        assert [one.member for one in schedule.entries] == [ancestor.id for ancestor in line]
        assert [one.training_seed for one in schedule.entries] == [one.training_seed for one in line]
        assert [one.fom for one in schedule.entries] == [ancestor.fom for ancestor in line]
        assert (schedule.member, schedule.fom) == (life.id, life.fom)


def test_the_schedule_names_its_run_its_metric_and_the_checkpoint_it_ends_in(history: History) -> None:
    schedule = best_schedule(history)
    assert history.best is not None
    assert history.best.outcome is not None
    assert history.best.outcome.checkpoint is not None
    assert (schedule.run, schedule.metric) == ("small", "validation_loss")
    assert schedule.checkpoint_sha256 == history.best.outcome.checkpoint.sha256


def test_the_settings_of_an_epoch_are_those_that_its_member_was_trained_with(history: History) -> None:
    schedule, space = best_schedule(history), history.config.space()
    assert history.best is not None
    for epoch, life in enumerate(history.line(history.best)):
        assert schedule.at(epoch) == space.express(life.birth.genome)
        assert ("momentum" in schedule.at(epoch)) == (life.birth.genome["optimizer"] == "sgd")
        assert schedule.entries[epoch].genome == life.birth.genome
    assert len({repr(schedule.at(epoch)) for epoch in range(schedule.epochs)}) > 1


def test_an_epoch_outside_the_schedule_is_an_error_that_names_the_epochs(history: History) -> None:
    schedule = best_schedule(history)
    for epoch in (-1, schedule.epochs, schedule.epochs + 5):
        with pytest.raises(IndexError, match=f"0 to {schedule.epochs - 1}, not {epoch}"):
            schedule.at(epoch)


def test_what_a_caller_does_to_the_settings_does_not_change_the_schedule() -> None:
    schedule = schedule_of(entry(0, {"rate": 0.5}))
    schedule.at(0)["rate"] = 7.0
    assert schedule.at(0) == {"rate": 0.5}


def test_a_member_without_an_outcome_has_a_schedule_without_fom_and_checkpoint() -> None:
    pen = Pen()
    pen.generation(*[None] * 4)
    pen.births("g000s002", "g000s003", "g000s003", None)
    schedule = Schedule.of(pen.history, pen.history.by_id["g001s000"])
    assert (schedule.fom, schedule.checkpoint_sha256, schedule.epochs) == (None, None, 2)
    founder = Schedule.of(pen.history, pen.history.by_id["g000s002"])
    assert (founder.fom, founder.checkpoint_sha256) == (2.0, checkpoint("g000s002").sha256)


def test_a_schedule_reads_back_as_it_was_written(history: History, tmp_path: Path) -> None:
    for life in history.lives():
        schedule = Schedule.of(history, life)
        assert written(schedule, tmp_path) == schedule


def test_the_public_name_is_the_same_class() -> None:
    assert PublicSchedule is Schedule


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(GENOMES, st.booleans()), min_size=1, max_size=3))
def test_values_of_every_kind_read_back_in_value_and_type(
    tmp_path_factory: pytest.TempPathFactory, genomes: list[tuple[dict[str, Any], bool]]
) -> None:
    """Some entries have a locus that does not count."""
    entries = [
        entry(number, genome, dict(list(genome.items())[1:]) if part else None)
        for number, (genome, part) in enumerate(genomes)
    ]
    schedule = schedule_of(*entries)
    assert repr(asdict(written(schedule, tmp_path_factory.getbasetemp()))) == repr(asdict(schedule))


def test_a_schedule_is_told_in_one_line_and_shown_as_a_table_of_epochs() -> None:
    schedule = schedule_of(replace(entry(0, {"rate": 0.5}), epochs=2), entry(1, {"rate": 1e-5, "on": True}))
    assert repr(schedule) == "<Schedule of small, g001s000: 3 epochs, validation_loss 0.25>"
    shown = schedule._repr_html_()
    assert shown.count("<tr>") == 4
    for row in (
        "<th>epoch</th><th>rate</th><th>on</th>",
        "<td>1</td><td>0.5</td><td></td>",
        "<td>1e-05</td>",
    ):
        assert row in shown, shown


def test_a_list_is_written_where_it_is_and_never_as_a_reference() -> None:
    layers = [64, 64]
    text = schedule_of(entry(0, {"layers": layers}), entry(1, {"layers": layers})).to_yaml()
    assert text.count("layers: [64, 64]") == 2
    assert "*id" not in text


def test_the_file_says_the_hyperparameters_of_each_epoch_by_its_number() -> None:
    text = schedule_of(entry(0, {"rate": 0.5}), entry(1, {"rate": 1e-5})).to_yaml()
    data = yaml.safe_load(text)
    assert [(epoch["epoch"], epoch["hyperparameters"]) for epoch in data["epochs"]] == [
        (0, {"rate": 0.5}),
        (1, {"rate": 1e-5}),
    ]
    assert (data["run"], data["member"], data["fom"]) == ("small", "g001s000", 0.25)


@pytest.mark.parametrize(
    "digest",
    [
        "ab" * 32,
        "0a" * 32,
        "3e5" + "a" * 61,
        "12e" + "4" * 61,
        "1" * 64,
    ],
)
def test_a_digest_reads_back_whatever_number_it_looks_like(digest: str, tmp_path: Path) -> None:
    schedule = schedule_of(entry(0, {"rate": 0.5}), checkpoint_sha256=digest)
    assert written(schedule, tmp_path) == schedule


@pytest.mark.parametrize(
    "text",
    [
        "adam",
        "yes",
        "null",
        "0.5",
        "1_000",
        "0x1f",
        "1:30",
        "2026-11-21",
        "1e-4",
        "3e5-large",
    ],
)
def test_a_choice_that_looks_like_something_else_reads_back_as_text(text: str, tmp_path: Path) -> None:
    assert written(schedule_of(entry(0, {"kind": text})), tmp_path).at(0) == {"kind": text}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list\n",
        "epochs: 5\n",
        "run: small\n",
        "epochs: [{epoch: 0}]\n",
        "epochs: [3]\n",
        schedule_of(entry(0, {"rate": 0.5})).to_yaml() + "more: 1\n",
        schedule_of(entry(0, {"rate": 0.5})).to_yaml().replace("metric:", "measure:"),
        "run: {name: a config}\n",
        schedule_of(entry(0, {"rate": 0.5})).to_yaml().replace("{rate: 0.5}", "[rate]"),
        schedule_of(replace(entry(0, {"rate": 0.5}), epochs=2)).to_yaml().replace("epochs: 2", "epochs: two"),
    ],
)
def test_a_file_that_is_not_a_schedule_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "schedule.yaml"
    path.write_text(text)
    assert str(path) in complaint(lambda: Schedule.load(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no.yaml" in complaint(lambda: Schedule.load(tmp_path / "no.yaml"))


def test_legs_are_those_of_one_repeat_also_of_a_member_with_the_outcome_of_another(tmp_path: Path) -> None:
    loci = {"layers": {"type": "int", "low": 1, "high": 2, "initial": 2}}
    scratch = {"search__inherit": "none", "search__legs": 3, "search__loci": loci, "objective__repeats": 2}
    finished(tmp_path / "first", config_of(**scratch))
    for changes in ({}, {"search__reuse": "first"}):
        history = finished(tmp_path / f"run{len(changes)}", config_of(**scratch, **changes))
        assert any(life.same_as for life in history.lives())
        for life in history.lives():
            assert (Schedule.of(history, life).epochs, history.epochs_trained(life)) == (3, 3)
