"""A run written by hand, given to each tracker whole and in parts."""

import math
from pathlib import Path

from evodevo.config import RunConfig
from evodevo.run.history import History
from evodevo.run.records import EpochLosses, Outcome
from evodevo.trackers import find
from evodevo.trackers.base import Tracker
from tests.run.fakes import config_of
from tests.run.handmade import Pen, checkpoint

FOMS = {"g000s000": 4.0, "g000s001": 3.0, "g000s002": 2.0, "g000s003": 1.0}
"""Of the first generation of `story`."""

RECORDS = 18
"""Of `story`."""


def story(config: RunConfig | None = None) -> Pen:
    """Three generations of four: two lines branch, one member diverges, and the best is g002s001.

    g000s003 -> g001s000 -> g002s000, g002s002
             -> g001s001 -> g002s001
    g000s002 -> g001s002 -> g002s003
             -> g001s003 (diverges)

    The founders have trained for 4 steps, but for g000s001, whose batches are smaller.
    """
    pen = Pen(config)
    pen.founders()
    for member, fom in FOMS.items():
        pen.done(losses=[EpochLosses(8 if member == "g000s001" else 4, [3.0, 2.0])], **{member: fom})
    pen.now += 10
    pen.births("g000s003", "g000s003", "g000s002", "g000s002")
    pen.done(losses=[EpochLosses(4, [1.5, math.inf])], g001s001=0.75, g001s000=0.5, g001s002=1.5)
    pen.diverged("g001s003")
    pen.now += 10
    pen.births("g001s000", "g001s001", "g001s000", "g001s002")
    by_epoch = [{"train_loss": 0.5}, {"train_loss": 0.25}]
    losses = [EpochLosses(5, [0.75, 0.5]), EpochLosses(2, [0.25, 0.125])]
    metrics, ref = {"validation_loss": 0.125}, checkpoint("g002s001")
    pen.outcome("g002s001", Outcome("done", 0.125, metrics, ref, epochs=by_epoch, losses=losses))
    pen.done(g002s000=0.25, g002s002=0.375, g002s003=1.25)
    pen.end(accuracy=0.875)
    return pen


LOSSES_OF_BEST_LINE = [(2, 3.0), (4, 2.0), (6, 1.5), (10, 0.75), (13, 0.5), (14, 0.25), (15, 0.125)]
LOSSES_OF_SLOT_1 = [(4, 3.0), (8, 2.0), (10, 1.5), (14, 0.75), (17, 0.5), (18, 0.25), (19, 0.125)]
"""Of `story`: the steps of the parameters, or of the slot's members, and the losses."""


def from_scratch() -> Pen:
    """Two generations of two members that inherit nothing; one diverges."""
    search = {"search__strategy": "natural_selection", "search__options": {}}
    config = config_of(**search, search__population=2, search__generations=2)
    pen = Pen(config)
    pen.births(None, None, genomes=[{"optimizer": "adam"}, {"optimizer": "sgd"}])
    pen.done(g000s000=2.0, g000s001=1.0)
    pen.births(None, None)
    pen.done(losses=[EpochLosses(4, [1.0, 0.5])], g001s000=0.5)
    pen.diverged("g001s001")
    pen.end()
    return pen


def tracker_of(name: str, run: Path, **options: object) -> Tracker:
    kind = find(name)
    return kind(run, kind.Options.model_validate(options))


def tell(name: str, run: Path, pen: Pen, steps: int, **options: object) -> Tracker:
    """Give a new tracker the first `steps` records in two parts, without closing it, as if it was killed."""
    run.mkdir(exist_ok=True)
    tracker, history = tracker_of(name, run, **options), History()
    for first, last in ((0, steps // 2), (steps // 2, steps)):
        for record in pen.records[first:last]:
            history.apply(record)
        if history.last_at:
            tracker.update(history)
    return tracker
