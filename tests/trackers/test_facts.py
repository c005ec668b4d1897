"""How a run's history looks to tracking tools."""

from evodevo.run.events import Extended, Result
from evodevo.run.records import EpochLosses, Outcome
from evodevo.trackers.base import BySlot, Complete, Facts, about
from evodevo.trackers.mlflow import Lines
from tests.run.fakes import config_of
from tests.run.handmade import Pen, checkpoint
from tests.trackers.stories import story

LOCI = ("rate", "layers", "optimizer", "momentum")


def test_members_are_handed_out_once_and_slots_in_order() -> None:
    pen, by_slot = Pen(), BySlot()
    pen.founders(2)
    pen.births("g000s000", "g000s000")
    history = pen.history
    pen.done(g001s001=2.0, g000s000=1.0)
    for record in pen.records[-2:]:
        history.apply(record)
    assert [life.id for life in by_slot.take(history)] == ["g000s000"]
    pen.done(g000s001=3.0)
    history.apply(pen.records[-1])
    assert [life.id for life in by_slot.take(history)] == ["g000s001", "g001s001"]
    assert by_slot.take(history) == []


def test_generations_are_handed_out_in_order_though_a_later_one_is_complete_first() -> None:
    pen, complete = Pen(), Complete()
    pen.founders(4)
    pen.done(g000s000=4.0, g000s001=3.0, g000s002=2.0)
    pen.births("g000s000", "g000s000", "g000s000", "g000s000")
    pen.done(g001s000=1.0, g001s001=1.0, g001s002=1.0, g001s003=1.0)
    assert list(complete.take(Facts(pen.history))) == []
    pen.diverged("g000s003")
    first, second = complete.take(Facts(pen.history))
    assert (first.foms, first.unsuccessful) == ((2.0, 3.0, 4.0), 1)
    assert first.numbers() == {"best": 2.0, "median": 3.0, "worst": 4.0, "unsuccessful": 1.0}
    assert second.generation == 1


def test_numbers_that_are_not_finite_are_left_out_and_a_choice_is_its_index() -> None:
    pen = Pen()
    pen.births(None, genomes=[{"optimizer": "sgd", "momentum": 0.5}])
    pen.outcome("g000s000", Outcome("diverged", metrics={"validation_loss": float("nan"), "accuracy": 0.5}))
    facts = Facts(pen.history)
    numbers = facts.numbers(pen.history.by_id["g000s000"])
    assert numbers.keys() == {"metrics/accuracy", *(f"hyperparameters/{name}" for name in LOCI)}
    assert (numbers["hyperparameters/optimizer"], numbers["hyperparameters/momentum"]) == (1.0, 0.5)
    assert facts.choices() == {"optimizer": "0: adam, 1: sgd"}


def test_epochs_are_counted_on_from_those_that_the_parameters_had() -> None:
    pen = Pen(config_of(search__legs=2, search__epochs_per_generation=2))
    pen.founders(1)
    first, second = ([{"train_loss": loss}, {"train_loss": loss / 2}] for loss in (4.0, 1.0))
    leg = Outcome("done", 2.0, {"validation_loss": 2.0}, checkpoint("g000s000"), epochs=first)
    pen.write(Result("g000s000", leg, "tcp://a", 1000.0, goes_on=True))
    pen.outcome("g000s000", Outcome("done", 1.0, {}, checkpoint("g000s000"), epochs=second))
    pen.births("g000s000")
    pen.outcome("g001s000", Outcome("done", 1.0, {}, checkpoint("g001s000"), epochs=first))
    history = pen.history
    losses = {
        member: [(epoch, metrics["epochs/train_loss"]) for epoch, metrics in Facts(history).epochs(life)]
        for member, life in history.by_id.items()
    }
    assert losses["g000s000"] == [(1, 4.0), (2, 2.0), (3, 1.0), (4, 0.5)]
    assert losses["g001s000"] == [(5, 4.0), (6, 2.0)]


def test_steps_are_counted_on_from_those_that_the_parameters_had_though_a_repeat_began_again() -> None:
    pen = Pen(config_of(search__legs=2))
    pen.founders(1)
    first, second = EpochLosses(6, [4.0, 3.0, 2.0]), EpochLosses(5, [1.0, 0.5])
    for losses, again in ((first, False), (first, True), (first, False)):
        leg = Outcome("done", 2.0, {"validation_loss": 2.0}, checkpoint("g000s000"), losses=[losses])
        pen.write(Result("g000s000", leg, "tcp://a", 1000.0, goes_on=True, again=again))
    pen.done(losses=[second], g000s000=1.0)
    pen.births("g000s000")
    pen.done(losses=[second], g001s000=1.0)
    facts = Facts(pen.history)
    found = {
        life.id: [(step, losses["losses/train_loss"]) for step, losses in facts.losses(life)]
        for life in (pen.history.by_id[member] for member in ("g001s000", "g000s000"))
    }
    assert found["g000s000"] == [(2, 4.0), (4, 3.0), (6, 2.0), (8, 1.0), (11, 0.5)]
    assert found["g001s000"] == [(13, 1.0), (16, 0.5)]
    assert [step for step, _ in facts.losses(facts.history.by_id["g001s000"], before=100)] == [102, 105]


def test_a_run_that_recorded_no_losses_has_none_to_show() -> None:
    pen = Pen()
    pen.founders(1)
    pen.done(g000s000=1.0)
    facts, life = Facts(pen.history), pen.history.by_id["g000s000"]
    assert (list(facts.losses(life)), facts.steps_before(life)) == ([], 0)


def test_the_first_child_continues_a_line_and_others_begin_one() -> None:
    lines, pen = Lines(), story()
    lines.take(pen.history)
    assert lines.of["g002s000"] == lines.of["g001s000"] == lines.of["g000s003"] == "g000s003"
    assert lines.of["g002s001"] == lines.of["g001s001"] == "g001s001"
    assert lines.of["g002s002"] == "g002s002"
    assert len(set(lines.of.values())) == 7


def test_what_a_run_is_does_not_change_when_it_is_extended() -> None:
    pen = story()
    before = about(pen.history)
    assert (before["run.name"], before["search.population"], before["objective.mode"]) == ("small", 4, "min")
    pen.controller()
    pen.write(Extended(9))
    assert pen.history.config.search.generations == 9
    assert about(pen.history) == before
