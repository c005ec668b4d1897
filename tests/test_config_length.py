"""How long a run is: generations, epochs, and the epochs of each generation."""

from typing import Any

import pytest

from evodevo.config import RunConfig, parse, read_config
from evodevo.config_search import lay_out
from tests.configs import complaint, small
from tests.golden import assert_golden


def config(**search: Any) -> RunConfig:
    given = {"generations": None, **search}
    return parse(small({f"search.{key}": value for key, value in given.items()}))


@pytest.mark.parametrize(
    ("epochs", "recombining", "selecting"),
    [
        (12, 3, [1] * 9),
        (48, 12, [4] * 9),
        (200, 50, [16, 17, 17, 16, 17, 17, 16, 17, 17]),
        (5, 1, [1] * 4),
        (13, 0, [1, 1, 2, 1, 2, 1, 2, 1, 2]),
        (1, 0, [1]),
    ],
)
def test_auto_makes_nine_selections_of_a_run_and_recombines_after_every_epoch(
    epochs: int, recombining: int, selecting: list[int]
) -> None:
    assert lay_out(epochs, "auto", recombining) == [*selecting, *[1] * recombining]


@pytest.mark.parametrize(
    ("each", "recombining", "legs"),
    [
        (4, 0, [4, 4, 4]),
        (5, 0, [5, 5, 2]),
        (4, 3, [4, 4, 1, 1, 1, 1]),
        (20, 2, [10, 1, 1]),
        (1, 12, [1] * 12),
    ],
)
def test_a_length_that_is_given_is_kept_but_for_what_is_left_at_the_end(
    each: int, recombining: int, legs: list[int]
) -> None:
    assert lay_out(12, each, recombining) == legs


def test_epochs_become_generations_of_some_length_that_another_reading_leaves_alone() -> None:
    found = config(epochs=48, recombine={"last": 0.25})
    search = found.search
    assert (search.generations, search.total_epochs, search.recombining) == (21, 48, 9)
    assert [search.leg_epochs(at) for at in (0, 8, 9, 20, 50)] == [4, 4, 1, 1, 1]
    assert read_config(found.to_json()) == found
    assert "epochs" not in found.to_json()["search"]


def test_generations_of_one_epoch_are_the_rule() -> None:
    search = config(generations=12, recombine={"last": 0.25}).search
    assert (search.epochs_per_generation, search.total_epochs, search.recombining) == (1, 12, 9)
    assert config(epochs=12, epochs_per_generation=3).search.generations == 4


def test_lives_of_several_legs_count_them_all() -> None:
    assert config(generations=3, legs=2, epochs_per_generation=[1, 5]).search.total_epochs == 2 * (1 + 5 + 5)


def test_lines_that_never_mix_have_no_use_for_longer_generations() -> None:
    schedule = {"strategy": "scheduled", "options": {"epochs": 48}}
    assert config(epochs=48, **schedule).search.epochs_per_generation == 1


@pytest.mark.parametrize(
    ("name", "search", "key"),
    [
        ("epochs-and-generations", {"epochs": 12, "generations": 12}, "search"),
        ("epochs-and-steps", {"epochs": 12, "steps_per_generation": 10}, "search"),
        ("auto-without-epochs", {"generations": 12, "epochs_per_generation": "auto"}, "search"),
        ("epochs-zero", {"epochs": 0}, "search.epochs"),
        ("epochs-text", {"epochs": "many"}, "search.epochs"),
        ("each-zero", {"epochs": 12, "epochs_per_generation": 0}, "search.epochs_per_generation"),
        ("each-empty", {"generations": 3, "epochs_per_generation": []}, "search.epochs_per_generation"),
        (
            "each-with-zero",
            {"generations": 3, "epochs_per_generation": [1, 0]},
            "search.epochs_per_generation",
        ),
        ("last-above-one", {"epochs": 12, "recombine": {"last": 3}}, "search.recombine.last"),
        ("from-scratch", {"epochs": 12, "strategy": "mutate_best"}, "search"),
    ],
)
def test_a_length_that_makes_no_sense_is_refused(name: str, search: dict[str, Any], key: str) -> None:
    said = complaint(lambda: config(**search))
    assert said.startswith(f"config: {key}")
    assert_golden(f"config/length/{name}", said)
