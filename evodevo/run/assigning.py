"""What a worker is told of a leg, the first time and when its checkpoint is made again. Pure."""

from itertools import islice

from evodevo.evolution.rng import leg_seed
from evodevo.evolution.space import Space
from evodevo.run.history import History
from evodevo.run.life import Life, Mean
from evodevo.run.records import Assignment, CheckpointRef


def assignment_of(history: History, space: Space, life: Life, leg: int) -> Assignment:
    """Return an attempt, numbered after all so far, at a leg of a life or at a mean."""
    length = history.config.search.leg_epochs(life.generation)
    is_mean = isinstance(life, Mean)
    return Assignment(
        member=life.id,
        attempt=life.attempts + 1,
        hyperparameters=space.express(life.birth.genome),
        parent=None if is_mean else start_of(history, life, leg),
        epoch=life.epoch if is_mean else life.epoch + (leg - life.begins(leg)) * length,
        training_seed=leg_seed(life.training_seed, leg),
        leg=leg,
        epochs=length,
        mean_of=tuple(life.checkpoints) if isinstance(life, Mean) else (),
        progress=life.legs[leg - 1].outcome.progress if leg > life.begins(leg) else {},
        until_step=_end_of(life, leg),
    )


def _end_of(life: Life, leg: int) -> int | None:
    """Return the step of the life at which a leg that was trained before ended early; None if it did not."""
    done = next(islice(life.outcomes(), leg, None), None)
    return int(done.progress["steps"]) if done and done.over else None


def start_of(history: History, life: Life, leg: int) -> CheckpointRef | None:
    """Return the checkpoint that a leg begins with; None for a fresh start."""
    if leg > life.begins(leg):
        return life.legs[leg - 1].outcome.checkpoint
    return history.parent_checkpoint(life)


def inputs_of(history: History, life: Life, leg: int) -> tuple[CheckpointRef, ...]:
    """Return the checkpoints that a leg, or a mean, is made from."""
    if isinstance(life, Mean):
        return tuple(life.checkpoints)
    start = start_of(history, life, leg)
    return (start,) if start else ()
