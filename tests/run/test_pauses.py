"""How long what failed waits, and how workers are compared: without any waiting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodevo.run.conduct import FIRST_S, LONGEST_S, OUT, PATIENCE, STRIKES, Conduct
from evodevo.run.pauses import pause_s


def test_pauses_double_from_half_a_second_to_a_minute() -> None:
    whole = [pause_s(failures, lambda: 0.0) for failures in range(1, 10)]
    assert whole == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert pause_s(10**6, lambda: 0.0) == 60


@given(st.integers(1, 100), st.floats(0, 1))
def test_jitter_takes_no_more_than_half(failures: int, chance: float) -> None:
    whole = pause_s(failures, lambda: 0.0)
    assert whole / 2 <= pause_s(failures, lambda: chance) <= whole


def test_jitter_differs_from_call_to_call() -> None:
    assert len({pause_s(1) for _ in range(20)}) > 10


def test_where_nobody_succeeds_no_worker_is_to_blame() -> None:
    conduct = Conduct()
    assert [conduct.troubled(worker) for worker in "abc" * 20] == [0.0] * 60


def test_a_worker_that_fails_while_others_succeed_is_benched_for_longer_each_time_and_then_out() -> None:
    conduct = Conduct()
    told = []
    for _ in range(STRIKES):
        conduct.succeeded("healthy")
        told.append(conduct.troubled("broken"))
    assert told == [FIRST_S, 2, 4, 8, 16, OUT]
    assert conduct.suspects("broken")
    assert not conduct.suspects("healthy")


def test_a_worker_that_has_been_benched_is_benched_again_but_never_out_if_nobody_else_succeeds() -> None:
    conduct = Conduct()
    conduct.succeeded("healthy")
    told = [conduct.troubled("broken") for _ in range(20)]
    assert told[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(told[7:]) == {LONGEST_S}


def test_a_worker_is_not_suspected_for_ever_if_it_is_the_only_one_left() -> None:
    conduct = Conduct()
    conduct.succeeded("healthy")
    suspected = []
    for _ in range(PATIENCE + 2):
        conduct.troubled("broken")
        suspected.append(conduct.suspects("broken"))
    assert suspected == [True] * PATIENCE + [False] * 2


@pytest.mark.parametrize("means", ["succeeded", "cleared"])
def test_a_success_or_a_failure_that_was_the_members_own_resets_everything(means: str) -> None:
    conduct = Conduct()
    for _ in range(3):
        conduct.succeeded("healthy")
        conduct.troubled("doubtful")
    assert getattr(conduct, means)("doubtful")
    assert not conduct.suspects("doubtful")
    assert not getattr(conduct, means)("doubtful")
    conduct.succeeded("healthy")
    assert conduct.troubled("doubtful") == FIRST_S


def test_the_one_that_succeeded_last_is_not_blamed_for_the_next_trouble() -> None:
    conduct = Conduct()
    conduct.succeeded("a")
    conduct.succeeded("b")
    assert conduct.troubled("b") == 0.0
    assert conduct.troubled("a") == FIRST_S
