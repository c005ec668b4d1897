"""Check whether a run can be extended to another number of generations, before anything is written."""

from pathlib import Path

from evodevo.config_phases import next_of
from evodevo.errors import RunFailed, UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.events import Extended
from evodevo.run.history import History
from evodevo.run.pacing import pacing_of
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import JOURNAL, job_of
from evodevo.run.stopping import (
    epochs_are_used_up,
    goal_is_reached,
    is_on_plateau,
    small_gain,
    time_is_up,
)


def extension_of(directory: Path, history: History, generations: int) -> int | None:
    """Return the number of generations to journal; None if an unfinished run already has that number.

    `history` is changed to have it. Raises `UsageError` if the run cannot be extended to it.
    """
    name, config = directory.name, history.config
    if history.end != "done" and generations == config.search.generations:
        return None
    following = next_of(config)
    if following and (directory.parent / following["run"]["name"] / JOURNAL).exists():
        raise UsageError(
            f"run {name!r} cannot be extended: {following['run']['name']} has started from its result; "
            "extend that one, or start a new run with another run.name"
        )
    born = len(history.generations)
    if generations <= born:
        has = f"run {name!r} already has {born} generations; give"
        raise UsageError(f"{has} generations={born + 1} or more", f"{has} --generations more than that")
    most = config.strategy().most_generations
    if most is not None and generations > most:
        raise UsageError(
            f"run {name!r} cannot have {generations} generations: its strategy, {config.search.strategy}, "
            f"has {most}"
        )
    instead = f"start another run from its best member, with search.start: {{run: {name}}}"
    if time_is_up(history):
        raise UsageError(
            f"run {name!r} has used up limits.wall_time_s = {config.limits.wall_time_s:g}; {instead}"
        )
    if epochs_are_used_up(history):
        limit = config.limits.member_epochs
        raise UsageError(f"run {name!r} has used up limits.member_epochs = {limit}; {instead}")
    if said := small_gain(history):
        raise UsageError(f"run {name!r} cannot be extended: {said}; {instead}")
    if goal_is_reached(history):
        raise UsageError(f"run {name!r} has reached search.goal = {config.search.goal:g}; {instead}")
    if is_on_plateau(history):
        raise UsageError(f"run {name!r} has reached search.plateau = {config.search.plateau}; {instead}")
    history.take(Extended(generations), history.last_at)
    try:
        pacing = pacing_of(history.config.strategy(), history)
        needed = needed_checkpoints(history, pacing.may_inherit, lambda life: False)
        there = CheckpointStore(job_of(config, directory, history.run_id).checkpoints_url).names()
    except (CheckpointError, RunFailed) as why:
        raise UsageError(str(why)) from None
    best = history.best.outcome.checkpoint if history.best and history.best.outcome else None
    soup = history.soup.checkpoint if history.soup else None
    others = needed - {ref.name for ref in (best, soup, history.start) if ref}
    missing = needed.difference(there)
    if others and others <= missing:  # if only some are missing, they are remade
        raise UsageError(
            f"run {name!r} cannot be extended: {len(missing)} of the {len(needed)} checkpoints that it would "
            f"continue from are missing (`evodevo prune` deletes them); {instead}"
        )
    return generations
