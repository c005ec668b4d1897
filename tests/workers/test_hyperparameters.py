"""The hyperparameters that a workload is given."""

from tests.golden import raises_golden
from workers.hyperparameters import Hyperparameters, UnknownHyperparameter


def test_what_was_asked_for_is_remembered_and_nothing_else() -> None:
    hp = Hyperparameters({"learning_rate": 0.1, "momentum": 0.9, "unused": 1})
    assert hp["learning_rate"] == 0.1
    assert hp.get("momentum", 0.0) == 0.9
    assert hp.get("weight_decay", 0.5) == 0.5
    assert hp.get("nothing") is None
    assert hp.read == {"learning_rate", "momentum", "weight_decay", "nothing"}


def test_an_unknown_name_is_refused_with_the_names_that_there_are() -> None:
    hp = Hyperparameters({"learning_rate": 0.1, "momentum": 0.9})
    with raises_golden("hyperparameters/unknown", UnknownHyperparameter):
        hp["lr"]


def test_where_there_are_none_the_refusal_says_so() -> None:
    with raises_golden("hyperparameters/none", UnknownHyperparameter):
        Hyperparameters({})["lr"]


def test_they_are_a_plain_dict_to_whoever_wants_one() -> None:
    values = {"learning_rate": 0.1, "momentum": 0.9}
    assert Hyperparameters(values) == values
    assert dict(Hyperparameters(values)) == values


def test_unpacking_them_into_a_call_counts_as_reading_them() -> None:
    hp = Hyperparameters({"lr": 0.1, "momentum": 0.9})
    assert dict(**hp) == {"lr": 0.1, "momentum": 0.9}
    assert hp.read == {"lr", "momentum"}


def test_what_is_read_within_a_block_can_be_told_from_what_was_read_before() -> None:
    hp = Hyperparameters({"rate": 0.1, "decay": 0.2})
    assert hp["rate"] == 0.1
    with hp.recording() as names:
        assert hp.get("momentum", 0.9) == 0.9
        assert "decay" in hp
    assert names == {"momentum", "decay"}
    assert hp.read == {"rate", "momentum", "decay"}
