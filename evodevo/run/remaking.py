"""Remake damaged checkpoints outside the main loop: for the products of a run, and by command."""

import asyncio

from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointError
from evodevo.run.crew import AttemptLost, Caller, Inbox, Needs, Offered
from evodevo.run.events import Replaced
from evodevo.run.mending import OTHER_BYTES, Mending
from evodevo.run.recipes import CannotRemakeError
from evodevo.run.records import Job
from evodevo.run.setup import SOUP


async def mend(mending: Mending, caller: Caller, job: Job, needs: Needs) -> list[Replaced]:
    """Have workers remake everything that is planned; return the events to be journaled."""
    inbox = Inbox()
    crew = caller.enlist(job.run, inbox, job.workers)
    found: list[Replaced] = []
    try:
        while mending.busy:
            crew.want(mending.ready, needs, ())
            for message in await inbox.take():
                if not isinstance(message, Offered):
                    found += await mending.take(message, inbox.put)
                elif unit := mending.next_unit():
                    if not crew.send(message.worker, unit):
                        mending.put_back(unit)
                else:
                    crew.decline(message.worker)
        return found
    finally:
        crew.dismiss()


async def remake_soup(mending: Mending, caller: Caller, job: Job, needs: Needs) -> bool:
    """Remake the soup of a finished run if it is damaged; return whether it is intact afterwards."""
    history, store = mending.history, mending.store
    soup = history.soup
    assert soup is not None
    name = soup.checkpoint.name
    try:
        await mending.look([soup.checkpoint])
        if await asyncio.to_thread(store.damage, soup.checkpoint) is None:
            return True
        lives = [history.by_id[member] for member in soup.of]
        refs = [life.outcome.checkpoint for life in lives if life.outcome and life.outcome.checkpoint]
        await mending.need(refs, for_now=True)
        await mend(mending, caller, job, needs)
        hyperparameters = history.config.space().express(lives[0].birth.genome)
        made = await caller.call(
            job.run,
            SOUP,
            job,
            history.config.objective.mode,
            refs,
            hyperparameters,
            soup.checkpoint,
            needs=needs,
        )
    except (CheckpointError, CannotRemakeError, AttemptLost, UsageError) as why:
        mending.failed[name] = str(why)
        return False
    if made["checkpoint"]["name"] != name:
        mending.failed[name] = OTHER_BYTES
        await asyncio.to_thread(store.delete, [made["checkpoint"]["name"]])
        return False
    await mending.release(refs)
    mending.made += 1
    return True
