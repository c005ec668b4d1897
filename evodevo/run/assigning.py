"""Build the assignments of legs, for the first training and for remaking a checkpoint. Pure."""

from itertools import islice

from evodevo.evolution.rng import leg_seed
from evodevo.evolution.space import Space
from evodevo.run import networks
from evodevo.run.history import History
from evodevo.run.life import Life, Mean
from evodevo.run.records import Assignment, CheckpointRef, NetworkStart


def assignment_of(history: History, space: Space, life: Life, leg: int) -> Assignment:
    """Return the next attempt at a leg of a life or at a mean, numbered after all earlier ones."""
    length = history.config.search.leg_epochs(life.generation)
    is_mean, several = isinstance(life, Mean), history.config.search.ploidy > 1
    return Assignment(
        member=life.id,
        attempt=life.attempts + 1,
        hyperparameters=space.express(life.birth.genome),
        parent=None if is_mean or several else networks.start_of(history, life, leg),
        epoch=life.epoch if is_mean else life.epoch + (leg - life.begins(leg)) * length,
        training_seed=leg_seed(life.training_seed, leg),
        leg=leg,
        epochs=length,
        mean_of=tuple(life.checkpoints) if isinstance(life, Mean) else (),
        progress=life.legs[leg - 1].outcome.progress if leg > life.begins(leg) else {},
        until_step=_end_of(life, leg),
        networks=_starts(history, space, life, leg) if several and not is_mean else (),
    )


def _starts(history: History, space: Space, life: Life, leg: int) -> tuple[NetworkStart, ...]:
    """Return what each of several networks starts a leg from."""
    done = (leg - life.begins(leg)) * history.config.search.leg_epochs(life.generation)
    return tuple(
        NetworkStart(
            networks.start_of(history, life, leg, at),
            (life.network_epochs[at] if life.network_epochs else life.epoch) + done,
            leg_seed(networks.seed_of(life, at), leg),
            space.express(networks.genome_of(history, life, at)),
        )
        for at in range(history.config.search.ploidy)
    )


def _end_of(life: Life, leg: int) -> int | None:
    """Return the step of the life at which a trained leg ended early; None if it did not end early."""
    done = next(islice(life.outcomes(), leg, None), None)
    return int(done.progress["steps"]) if done and done.over else None


def inputs_of(history: History, life: Life, leg: int) -> tuple[CheckpointRef, ...]:
    """Return the checkpoints from which a leg or a mean is made."""
    if isinstance(life, Mean):
        return tuple(life.checkpoints)
    count = history.config.search.ploidy
    return networks.distinct(networks.start_of(history, life, leg, at) for at in range(count))
