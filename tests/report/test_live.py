"""The columns that the live page draws."""

import math
from typing import Any

import numpy as np
import pytest

from evodevo.evolution.rng import stream
from evodevo.report.account import PARTS
from evodevo.report.live import MOST, MOST_FAILURES, MOST_WORKERS, Panel, Picture, picture_of
from evodevo.run.events import Result, member_id
from evodevo.run.records import Outcome
from tests.report.steady import steady
from tests.run.fakes import config_of
from tests.run.handmade import Pen

STEPS = ("died_out", "ancestors", "best_steps", "hyperparameter_parents")


def columns_of(pen: Pen) -> dict[str, Any]:
    return dict(picture_of(pen.history).columns)


def rows(columns: Any, *names: str) -> list[tuple[Any, ...]]:
    """The rows of some columns, with None for NaN."""
    lists = [[None if value != value else value for value in columns[name]] for name in names]
    return list(zip(*lists, strict=True))


def steps(columns: Any, kind: str) -> set[tuple[float, ...]]:
    return set(rows(columns[kind], "x0", "y0", "x1", "y1"))


def two_generations() -> Pen:
    """The second member of the first generation gives parameters to three of the second, the last to one."""
    pen = Pen()
    pen.generation(None, None, None, None, foms=(4.0, 1.0, 3.0, 2.0))
    pen.births("g000s003", "g000s001", "g000s001", "g000s001", parent_a="g000s000")
    return pen


MEMBERS, GENERATIONS = 100, 200


@pytest.fixture(scope="module")
def large() -> tuple[Pen, Picture]:
    """100 members, 200 generations: α is drawn from the better half of the generation before."""
    pen = Pen(config_of(search__population=MEMBERS, search__generations=GENERATIONS))
    better: list[str] = []
    for generation in range(GENERATIONS):
        rng = stream(0, generation, 0, "made")
        alphas = [str(rng.choice(better)) for _ in range(MEMBERS)] if better else [None] * MEMBERS
        foms = [float(fom) for fom in rng.normal(300 - generation, 1, MEMBERS)]
        pen.generation(*alphas, foms=foms)
        order = sorted(range(MEMBERS), key=foms.__getitem__)
        better = [member_id(generation, slot) for slot in order[: MEMBERS // 2]]
    return pen, picture_of(pen.history)


def test_a_run_without_members_has_a_picture_with_nothing_in_it() -> None:
    assert {len(next(iter(data.values()))) for data in columns_of(Pen()).values()} == {0}


def test_the_foms_of_a_steady_run_are_of_all_members_so_far_and_so_is_fitness() -> None:
    picture = picture_of(steady(2.0, 3.0, None, 1.0).history)
    assert picture.drawing.independent
    assert rows(picture.columns["fom"], "generation", "best", "high") == [(0, 2, 2), (1, 2, 3), (3, 1, 3)]
    fitness = [fit for (fit,) in rows(picture.columns["population"], "fitness")]
    assert fitness == [pytest.approx(math.exp(-2.5)), pytest.approx(math.exp(-5.0)), None, 1.0]


@pytest.mark.parametrize(("mode", "best"), [("min", 1.0), ("max", 4.0)])
def test_foms_of_a_generation_are_its_best_its_median_and_its_envelope(mode: str, best: float) -> None:
    pen = Pen(config_of(objective__mode=mode))
    pen.generation(None, None, None, None, foms=(4.0, 1.0, 3.0, 2.0))
    pen.births("g000s001", None, None, None)
    assert rows(columns_of(pen)["fom"], "generation", "best", "median", "low", "high") == [
        (0, best, 2.5, 1.0, 4.0)
    ]


def test_each_locus_that_evolves_has_a_panel_and_a_column() -> None:
    pen = Pen()
    pen.founders(2)
    picture = picture_of(pen.history)
    assert picture.drawing.panels == (
        Panel("rate", "log"),
        Panel("layers", "linear"),
        Panel("optimizer", "linear", ("adam", "sgd")),
        Panel("momentum", "linear"),
    )
    assert rows(picture.columns["population"], "hp.rate", "hp.optimizer", "hp.momentum") == [
        (0.01, 0, None),
        (0.02, 0, None),
    ]


def test_a_choice_is_its_number_and_a_conditional_locus_is_there_where_its_condition_holds() -> None:
    pen = Pen()
    pen.births(None, None, genomes=[{"optimizer": "sgd", "momentum": 0.75}, {"optimizer": "adam"}])
    assert rows(columns_of(pen)["population"], "hp.optimizer", "hp.momentum") == [(1, 0.75), (0, None)]


def test_fitness_and_fom_are_not_there_before_their_time() -> None:
    pen = Pen(config_of(search__population=2))
    pen.generation(None, None, foms=(1.0, 2.0))
    pen.births(None, None)
    pen.done(g001s000=3.0)
    population = columns_of(pen)["population"]
    assert rows(population, "fom") == [(1.0,), (2.0,), (3.0,), (None,)]
    assert [fitness is None for (fitness,) in rows(population, "fitness")] == [False, False, True, True]


def test_members_stand_beside_those_with_the_same_alpha() -> None:
    population = columns_of(two_generations())["population"]
    assert rows(population, "generation", "slot", "place")[4:] == [(1, 0, 3), (1, 1, 0), (1, 2, 1), (1, 3, 2)]


def test_steps_lead_from_the_parents_to_the_child() -> None:
    columns = columns_of(two_generations())
    assert steps(columns, "ancestors") == {(0, 3, 1, 3), (0, 1, 1, 0), (0, 1, 1, 1), (0, 1, 1, 2)}
    assert steps(columns, "hyperparameter_parents") == {(0, 0, 1, place) for place in range(4)}
    assert [count for (count,) in rows(columns["population"], "children")[:4]] == [0, 3, 0, 1]


def test_lines_that_ended_and_the_best_one_are_told_apart() -> None:
    pen = two_generations()
    pen.done(g001s000=0.5, g001s001=2.0, g001s002=2.0, g001s003=2.0)
    pen.births("g001s001", "g001s001", "g001s001", "g001s001")
    columns = columns_of(pen)
    assert steps(columns, "best_steps") == {(0, 3, 1, 3)}
    assert steps(columns, "died_out") == {(0, 1, 1, 1), (0, 1, 1, 2)}
    assert steps(columns, "ancestors") == {(0, 1, 1, 0), *((1, 0, 2, place) for place in range(4))}
    assert rows(columns["best_line"], "generation", "slot", "fom") == [(0, 3, 2.0), (1, 0, 0.5)]


def test_a_parent_that_gave_both_is_drawn_once() -> None:
    pen = Pen()
    pen.founders(1)
    pen.births("g000s000")
    assert sum(len(steps(columns_of(pen), kind)) for kind in STEPS) == 1


def test_of_a_large_run_a_part_is_shown_and_always_what_matters(large: tuple[Pen, Picture]) -> None:
    pen, picture = large
    history = pen.history
    shown = {
        member_id(int(generation), int(slot))
        for generation, slot in rows(picture.columns["population"], "generation", "slot")
    }
    assert MOST <= len(shown) < 1.3 * MOST
    assert {life.id for life in history.generations[-1]} <= shown
    assert history.best is not None
    for life in (history.best, *history.generations[-1]):
        assert {ancestor.id for ancestor in history.line(life)} <= shown
    a_generation = [sum(life.id in shown for life in lives) for lives in history.generations]
    assert min(a_generation) >= MEMBERS // 5
    assert all(len(picture.columns[kind]["x0"]) < 1.3 * MOST for kind in STEPS)


def test_alpha_lines_never_cross(large: tuple[Pen, Picture]) -> None:
    _, picture = large
    every = set[tuple[float, ...]]().union(
        *(steps(picture.columns, kind) for kind in ("died_out", "ancestors", "best_steps"))
    )
    assert len(every) > MOST
    for generation in range(1, GENERATIONS):
        from_top = sorted((y1, y0) for _, y0, x1, y1 in every if x1 == generation)
        assert [y0 for _, y0 in from_top] == sorted(y0 for _, y0 in from_top)


def test_all_columns_of_a_source_are_of_one_length_and_numbers_are_arrays(large: tuple[Pen, Picture]) -> None:
    for data in large[1].columns.values():
        assert len({len(column) for column in data.values()}) == 1
        for column in data.values():
            assert isinstance(column, list) or (isinstance(column, np.ndarray) and column.dtype == float)


def test_seconds_are_told_by_worker_most_at_work_first() -> None:
    pen = Pen()
    pen.founders(3)
    seconds = {"load": 1.0, "train": 5.0, "eval": 3.0, "save": 1.0}
    for member, worker in (("g000s000", "tcp://a:1"), ("g000s001", "tcp://b:1")):
        pen.write(Result(member, Outcome("done", 1.0, {}, None, seconds), worker, 1000.0))
    outcome = Outcome("failed", error="x", seconds={"wait": 4.0, "load": 1.0, "train": 2.0})
    pen.now += 17
    pen.write(Result("g000s002", outcome, "tcp://b:1", 1014.0))
    assert rows(columns_of(pen)["seconds"], "worker", *PARTS) == [
        ("b:1", 7, 3, 2, 1, 4, 0, 0, 0),
        ("a:1", 5, 3, 1, 1, 7, 0, 0, 0),
    ]


def test_the_time_between_two_controllers_is_not_waiting() -> None:
    pen = Pen()
    pen.founders(2)
    pen.now += 5
    pen.done(at=1000.0, seconds={"train": 4.0}, g000s000=1.0)
    pen.now += 3600
    pen.controller()
    pen.now += 5
    pen.done(at=pen.now - 5, seconds={"train": 4.0}, g000s001=1.0)
    ((train, wait, elsewhere),) = rows(columns_of(pen)["seconds"], "train", "wait", "elsewhere")
    assert train == 8
    assert wait + elsewhere <= 2


def test_of_very_many_workers_the_least_busy_are_summed_up() -> None:
    pen = Pen(config_of(search__population=60))
    pen.founders(60)
    for slot in range(60):
        outcome = Outcome("done", 1.0, {}, None, {"train": 100.0 - slot})
        pen.write(Result(member_id(0, slot), outcome, f"tcp://w{slot}", 1000.0))
    seconds = columns_of(pen)["seconds"]
    assert len(seconds["worker"]) == MOST_WORKERS
    assert (seconds["worker"][0], seconds["worker"][-1]) == ("w0", "21 others")
    assert sum(seconds["train"]) == sum(100 - slot for slot in range(60))


def test_failures_are_told_newest_first_with_what_they_were() -> None:
    pen = Pen()
    pen.founders(3)
    pen.lost("g000s000", "worker a was lost")
    pen.lost("g000s000", "worker b was lost")
    pen.failed("g000s000", error="no attempt came to an end:\nworker a was lost\nworker b was lost")
    pen.diverged("g000s001")
    pen.failed("g000s002", error='Traceback (most recent call last):\n  File "x"\nValueError: <b>bad</b>\n')
    failures = columns_of(pen)["failures"]
    assert rows(failures, "member", "what", "attempt", "message") == [
        ("g000s002", "failed", "1", "ValueError: <b>bad</b>"),
        ("g000s001", "diverged", "1", "validation_loss was NaN or infinite"),
        ("g000s000", "failed", "3", "no attempt came to an end: … worker b was lost"),
        ("g000s000", "lost", "2", "worker b was lost"),
        ("g000s000", "lost", "1", "worker a was lost"),
    ]
    assert failures["text"][0].startswith("Traceback")


def test_of_very_many_failures_the_newest_are_told() -> None:
    pen = Pen(config_of(search__population=MOST_FAILURES + 50))
    pen.founders(MOST_FAILURES + 50)
    pen.diverged(*(member_id(0, slot) for slot in range(MOST_FAILURES + 50)))
    failures = columns_of(pen)["failures"]
    assert len(failures["member"]) == MOST_FAILURES
    assert failures["member"][0] == member_id(0, MOST_FAILURES + 49)


def test_a_drawing_stays_equal_while_only_numbers_change() -> None:
    pen = two_generations()
    before = picture_of(pen.history).drawing
    pen.done(g001s000=2.5)
    assert picture_of(pen.history).drawing == before
