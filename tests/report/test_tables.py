"""A run as a table: history.csv."""

import csv
import io
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo.evolution.fitness import relative_fitness
from evodevo.report.tables import history_csv, history_rows
from evodevo.run.events import Result
from evodevo.run.history import History
from evodevo.run.records import Outcome
from tests.run.fakes import SECONDS, FakeCaller, config_of, finished
from tests.run.handmade import Pen, checkpoint

FIRST_COLUMNS = [
    "generation",
    "slot",
    "member",
    "parent_a",
    "parent_b",
    "parent_params",
    "status",
    "fom",
    "fitness",
    "attempt",
    "worker",
    "load_s",
    "train_s",
    "eval_s",
    "save_s",
    "wait_s",
]
LOCI = ["hp.rate", "hp.layers", "hp.optimizer", "hp.momentum"]


def table(history: History) -> tuple[list[str], list[dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(history_csv(history), newline=""))
    return list(reader.fieldnames or []), list(reader)


@pytest.fixture
def pen() -> Pen:
    return Pen()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A run in which one member diverged, one failed, and one lost an attempt."""
    fates = {"g000s001": "diverged", "g001s002": "failed"}
    caller = FakeCaller(
        lambda a: "lost" if (a.member, a.attempt) == ("g002s000", 1) else fates.get(a.member, "done")  # type: ignore[return-value]
    )
    config = config_of(search__options={"mutation_rate": 0.5})
    return finished(tmp_path_factory.mktemp("tables") / "run", config, caller)


def test_the_columns_are_those_of_the_design_in_its_order(history: History) -> None:
    columns, _ = table(history)
    metrics = ["metric.train_loss", "metric.validation_accuracy", "metric.validation_loss"]
    assert columns == FIRST_COLUMNS + LOCI + metrics


def test_a_row_is_a_member_and_the_oldest_comes_first(history: History) -> None:
    _, rows = table(history)
    assert [row["member"] for row in rows] == [life.id for life in history.lives()]
    assert [(int(row["generation"]), int(row["slot"])) for row in rows] == [
        (generation, slot) for generation in range(4) for slot in range(4)
    ]


def test_every_number_reads_back_as_it_was(history: History) -> None:
    _, rows = table(history)
    for row, life in zip(rows, history.lives(), strict=True):
        assert life.outcome is not None
        assert row["fom"] == ("" if life.fom is None else repr(life.fom))
        hyperparameters = history.config.space().express(life.birth.genome)
        read = {name: row[f"hp.{name}"] for name in hyperparameters}
        assert read == {
            name: repr(value) if isinstance(value, float) else str(value)
            for name, value in hyperparameters.items()
        }
        assert {name: row[f"metric.{name}"] for name in life.outcome.metrics} == {
            name: repr(value) for name, value in life.outcome.metrics.items()
        }


@settings(deadline=None, derandomize=True)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_fom_reads_back_identically(fom: float) -> None:
    pen = Pen()
    pen.births(None)
    pen.done(g000s000=fom)
    _, (row,) = table(pen.history)
    assert float(row["fom"]).hex() == fom.hex()


def test_a_locus_whose_condition_does_not_hold_is_empty(history: History) -> None:
    _, rows = table(history)
    assert {row["hp.optimizer"] for row in rows} == {"adam", "sgd"}
    for row in rows:
        assert (row["hp.momentum"] == "") == (row["hp.optimizer"] == "adam")


def test_parents_status_and_attempts_are_those_of_the_history(history: History) -> None:
    _, rows = table(history)
    for row, life in zip(rows, history.lives(), strict=True):
        parents = (life.birth.parent_a, life.birth.parent_b, life.birth.parent_params)
        assert (row["parent_a"], row["parent_b"], row["parent_params"]) == tuple(one or "" for one in parents)
        assert (row["status"], row["attempt"], row["worker"]) == (
            life.status,
            str(life.attempts),
            life.worker,
        )
    by_id = {row["member"]: row for row in rows}
    assert by_id["g000s001"]["status"] == "diverged"
    assert by_id["g001s002"]["status"] == "failed"
    assert by_id["g002s000"]["attempt"] == "2"


def test_fitness_is_the_strategys_over_each_generation_and_zero_without_a_fom(history: History) -> None:
    rows = history_rows(history)
    for generation in range(4):
        own = [row for row in rows if row["generation"] == generation]
        assert [row["fitness"] for row in own] == relative_fitness(
            [row["fom"] for row in own], "min", 5.0
        ).tolist()
    assert rows[1]["fitness"] == 0.0


def test_fitness_is_not_said_before_a_generation_is_complete(pen: Pen) -> None:
    pen.generation(*[None] * 4)
    pen.births(*["g000s003"] * 4)
    pen.done(g001s000=1.0)
    rows = history_rows(pen.history)
    assert all(row["fitness"] is not None for row in rows[:4])
    assert [row["fitness"] for row in rows[4:]] == [None] * 4
    assert [row["status"] for row in rows[4:]] == ["done", "pending", "pending", "pending"]
    pending = rows[5]
    assert {key for key, value in pending.items() if value is not None} == {
        *("generation", "slot", "member", "parent_a", "parent_params", "status", "attempt"),
        *("hp.rate", "hp.layers", "hp.optimizer"),
    }
    assert pending["attempt"] == 0


def test_waiting_is_from_birth_to_the_attempt_that_counts(pen: Pen) -> None:
    pen.births(None, None, None)
    pen.done(at=1007.25, g000s000=1.0)
    pen.done(at=999.0, g000s001=1.0)  # another machine's clock is behind
    assert [row["wait_s"] for row in history_rows(pen.history)] == [7.25, 0.0, None]


def test_seconds_are_those_of_the_outcome(pen: Pen) -> None:
    pen.births(None, None)
    pen.done(g000s000=1.0)
    columns = ("load_s", "train_s", "eval_s", "save_s")
    first, second = ([row[column] for column in columns] for row in history_rows(pen.history))
    assert first == [SECONDS[column.removesuffix("_s")] for column in columns]
    assert second == [None] * 4


@pytest.mark.parametrize("text", ['a,"b"', "line\nbreak", "α", " ", "'"])
def test_a_text_that_csv_must_quote_reads_back(text: str) -> None:
    loci: dict[str, Any] = {"kind": {"type": "choice", "choices": [text, "x"], "initial": text}}
    pen = Pen(config_of(search__loci=loci, search__options={"initial": "given"}))
    pen.births(None, genomes=[{"kind": text}])
    columns, (row,) = table(pen.history)
    assert columns == [*FIRST_COLUMNS, "hp.kind"]
    assert row["hp.kind"] == text


def test_a_run_without_births_is_an_empty_table(pen: Pen) -> None:
    assert history_rows(pen.history) == []
    assert history_csv(pen.history) == ""


def test_a_metric_that_some_members_do_not_report_is_empty_for_them(pen: Pen) -> None:
    pen.births(None, None)
    pen.outcome("g000s001", Outcome("done", 1.0, {"zeta": 1.0, "alpha": 2.0}, checkpoint("g000s001")))
    columns, rows = table(pen.history)
    assert columns[-2:] == ["metric.alpha", "metric.zeta"]
    assert [(row["metric.alpha"], row["metric.zeta"]) for row in rows] == [("", ""), ("2.0", "1.0")]


def test_a_metric_that_is_not_finite_is_there_with_a_note_in_the_last_column(pen: Pen) -> None:
    pen.births(None, None)
    metrics = {"a": math.inf, "b": math.nan, "c": -math.inf}
    outcome = Outcome("done", 1.0, metrics, checkpoint("g000s000"), notes=("a is inf", "b is nan"))
    pen.outcome("g000s000", outcome)
    pen.done(g000s001=2.0)
    columns, (noted, other) = table(pen.history)
    assert columns[-1] == "notes"
    assert [noted[f"metric.{name}"] for name in "abc"] == ["inf", "nan", "-inf"]
    assert (noted["notes"], other["notes"]) == ("a is inf; b is nan", "")


def test_notes_on_several_legs_are_said_once_each(pen: Pen) -> None:
    pen.births(None)
    for goes_on, notes in ((True, ("a", "b")), (False, ("b", "c"))):
        outcome = Outcome("done", 1.0, {}, checkpoint("g000s000"), notes=notes)
        pen.write(Result("g000s000", outcome, "tcp://a", pen.now, goes_on))
    assert history_rows(pen.history)[0]["notes"] == "a; b; c"


def test_seconds_of_a_life_of_several_legs_are_of_all_of_them(pen: Pen) -> None:
    pen.births(None)
    leg = Outcome("done", 2.0, {}, checkpoint("g000s000"), {"train": 2.0, "eval": 0.5})
    pen.write(Result("g000s000", leg, "tcp://a", pen.now, goes_on=True))
    (row,) = history_rows(pen.history)
    assert (row["status"], row["train_s"], row["eval_s"], row["attempt"]) == ("pending", 2.0, 0.5, 1)
    pen.done(g000s000=1.0)
    (row,) = history_rows(pen.history)
    assert (row["train_s"], row["eval_s"]) == (2.0 + SECONDS["train"], 0.5 + SECONDS["eval"])
    assert (row["status"], row["fom"], row["attempt"]) == ("done", 1.0, 1)
