"""What a run takes of the scheduler's memory: little per member, and nothing per lost attempt."""

import gc
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from evodevo.evolution.population import Birth
from evodevo.report.live import picture_of
from evodevo.run import loop
from evodevo.run.codec import encode
from evodevo.run.events import Births, Born, Lost, Result, member_id
from evodevo.run.life import MOST_REASONS
from evodevo.run.pacing import pacing_of
from evodevo.run.records import Assignment, CheckpointRef, Outcome
from tests.golden import assert_golden
from tests.run.fakes import FakeCaller, config_of, finished
from tests.run.handmade import Pen

MOST_BYTES = 1400
"""Upper bound of a member's memory: the records of a member have twice that."""
OBJECT_BYTES = 24
"""Less than the smallest object and its place in a list; what else runs in the process takes some as well."""
POPULATION, GENERATIONS = 100, 20
SECONDS = {"load": 0.038513, "train": 0.016267, "save": 0.023829, "eval": 0.007234}


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def lines() -> Iterator[str]:
    """The records of a run of two loci and two metrics, as a journal has them."""
    genome = Pen().config.space().given()
    for generation in range(GENERATIONS):
        for slot in range(POPULATION):
            number = generation * POPULATION + slot
            member, parent = member_id(generation, slot), member_id(generation - 1, slot)
            birth = Birth(genome, *[parent] * 3) if generation else Birth(genome)
            yield json.dumps(encode(Births([Born(member, generation, slot, birth, 1_000_000 + number)])))
            ref = CheckpointRef(f"{member}-a1-{number:012x}.safetensors", 1636, f"{number:064x}")
            metrics = {"train_loss": 0.5 + number, "validation_loss": 0.25 + number}
            outcome = Outcome("done", 0.25 + number, metrics, ref, SECONDS, hidden_s=0.015751 + number)
            yield json.dumps(encode(Result(member, outcome, "tcp://10.0.0.1:44591", 1.8e9 + number)))


def test_a_member_takes_a_bounded_number_of_bytes(traced: None) -> None:
    history, before = Pen().history, 0
    for at, line in enumerate(lines()):
        history.apply({"n": at, "time": 1.8e9 + at, **json.loads(line)})
        if at == 2 * POPULATION - 1:
            before = traced_bytes()
    members = len(history.over) - POPULATION
    assert members == POPULATION * (GENERATIONS - 1)
    assert (traced_bytes() - before) / members < MOST_BYTES


def test_a_pacing_keeps_nothing_of_generations_whose_children_are_born(traced: None) -> None:
    history = Pen(config_of(search__population=POPULATION, search__generations=GENERATIONS)).history
    for at, line in enumerate(lines()):
        history.apply({"n": at, "time": 1.8e9 + at, **json.loads(line)})
    strategy, before = history.config.strategy(), traced_bytes()
    pacing = pacing_of(strategy, history)
    assert pacing.births(0) == []
    assert (traced_bytes() - before) / len(history.over) < 60, "only the last generation is kept"


def test_a_thousand_lost_attempts_take_no_more_of_a_history_than_three_hundred(traced: None) -> None:
    pen = Pen()
    pen.founders(1)
    history, found = pen.history, []
    for at in range(1000):
        event = Lost("g000s000", f"worker tcp://10.0.0.1:{10000 + at} was lost", False, False, "tcp://a", 2.0)
        history.apply({"n": at, "time": 1e9 + at, **json.loads(json.dumps(encode(event)))})
        if at in (299, 999):
            found.append(traced_bytes())
    life = history.by_id["g000s000"]
    assert (life.attempts, history.lost_attempts, len(life.lost)) == (1000, 1000, MOST_REASONS)
    assert life.lost[-1] == "worker tcp://10.0.0.1:10999 was lost"
    assert found[1] - found[0] < 700 * OBJECT_BYTES


def test_a_thousand_lost_attempts_leave_nothing_in_a_controller(traced: None, tmp_path: Path) -> None:
    found: dict[int, int] = {}

    def watch(assignment: Assignment) -> None:
        for kept in (caller.units, caller.assignments, caller.placed, caller.needs):
            kept.clear()
        if assignment.member == "g001s002" and assignment.attempt in (300, 1000):
            found[assignment.attempt] = traced_bytes()

    caller = FakeCaller(lambda a: "worker" if a.member == "g001s002" and a.attempt <= 1000 else "done", watch)
    with patch.object(loop, "pause_s", lambda failures: 0.0):
        history = finished(tmp_path / "run", config_of(), caller)
    assert history.by_id["g001s002"].attempts == 1001
    assert found[1000] - found[300] < 700 * OBJECT_BYTES


def test_the_error_of_a_member_names_the_last_reasons_and_how_many_there_were_before(tmp_path: Path) -> None:
    lost = MOST_REASONS + 10
    caller = FakeCaller(
        lambda a: "done" if a.member != "g001s002" else "worker" if a.attempt <= lost else "lost"
    )
    with patch.object(loop, "pause_s", lambda failures: 0.0):
        history = finished(tmp_path / "run", config_of(limits__max_attempts=1), caller)
    life = history.by_id["g001s002"]
    assert (life.status, life.attempts) == ("failed", lost + 1)
    assert life.outcome
    _, gap, *reasons = (life.outcome.error or "").splitlines()
    assert_golden("loop/reasons-left-out", gap)
    assert reasons == [f"attempt {at} of g001s002 was lost" for at in range(11, lost + 2)]


def test_the_page_numbers_the_lost_attempts_whose_reasons_are_kept() -> None:
    pen = Pen()
    pen.founders(1)
    for at in range(MOST_REASONS + 10):
        pen.lost("g000s000", f"reason {at + 1}")
    failures = picture_of(pen.history).columns["failures"]
    assert list(failures["attempt"]) == [str(at) for at in range(MOST_REASONS + 10, 10, -1)]
    assert list(failures["message"]) == [f"reason {at}" for at in failures["attempt"]]
