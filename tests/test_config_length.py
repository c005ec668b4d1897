"""How long a run is: generations, epochs, and the epochs of each generation."""

from typing import Any

import pytest

from evodevo.config import RunConfig, parse, read_config
from evodevo.config_search import lay_out
from evodevo.errors import UsageError
from tests.configs import small


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
    ("search", "said"),
    [
        ({"epochs": 12, "generations": 12}, "give epochs or generations, not both"),
        ({"epochs": 12, "steps_per_generation": 10}, "give epochs or steps_per_generation, not both"),
        ({"generations": 12, "epochs_per_generation": "auto"}, "epochs_per_generation: auto needs epochs"),
        ({"epochs": 0}, r"search\.epochs"),
        ({"epochs": "many"}, r"search\.epochs"),
        ({"epochs": 12, "epochs_per_generation": 0}, r"search\.epochs_per_generation.*0 should be auto"),
        (
            {"generations": 3, "epochs_per_generation": []},
            r"\[\] should be auto, a number of epochs, or a list",
        ),
        ({"generations": 3, "epochs_per_generation": [1, 0]}, r"\[1, 0\] should be auto"),
        ({"epochs": 12, "recombine": {"last": 3}}, r"search\.recombine\.last"),
        ({"epochs": 12, "strategy": "mutate_best"}, "members train from scratch; give generations"),
    ],
)
def test_a_length_that_makes_no_sense_is_refused(search: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config(**search)
