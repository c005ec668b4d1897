"""`search.start`: begin a run from the genome that another one found, and from its parameters.

Every member without a parent in the new run starts from them. The checkpoint, if it is taken, is copied into
the new run's store and the genome into its config, so the other run can be pruned or deleted afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evodevo.config import RunConfig
from evodevo.config_search import PARAMETERS_ALONE, Start
from evodevo.config_start import with_initials
from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore, DamagedCheckpointError
from evodevo.run.copies import find_copy
from evodevo.run.events import Origin
from evodevo.run.history import History, load_history
from evodevo.run.records import CheckpointRef
from evodevo.run.setup import JOURNAL, job_of
from evodevo.run.view import runs_in


@dataclass(frozen=True)
class Found:
    """What a run starts from.

    `checkpoint` is the other run's, at `url`, with the content `data`; it is None if only the genome is
    taken. `config` is that of the new run, with the genome as the loci's `initial` values if it is taken;
    `facts` says what that changes.
    """

    origin: Origin
    checkpoint: CheckpointRef | None
    url: str
    data: bytes
    config: RunConfig
    facts: list[str]
    before: History

    def check_data(self, data: Mapping[str, str]) -> None:
        """Compare the digests of the splits with those of the other run.

        Raises `UsageError` if the same source is split differently: the parameters may have been trained on
        examples that this run validates or tests with.
        """
        if self.checkpoint is None:
            return
        theirs, before = self.before.begun.data, self.before.config
        same_source = (before.workload, before.data) == (self.config.workload, self.config.data)
        differing = [name for name in theirs if name in data and theirs[name] != data[name]]
        if same_source and differing:
            raise _wrong(
                f"the {differing[0]} split differs from that of run {before.run.name!r}, so this one would "
                "be validated and tested on examples that its parameters were trained on; set run.seed to "
                f"{before.run.seed}, as in that run, or make data() split with a fixed seed"
            )


def find_origin(config: RunConfig, runs_dir: Path) -> Found | None:
    """Return what `config.search.start` names; None if it names nothing.

    Raises `UsageError` if there is no such run, or if it has nothing that this one can start from.
    """
    start = config.search.start
    if start is None:
        return None
    directory = Path(start.run) if start.is_path else runs_dir / start.run
    if not (directory / JOURNAL).exists():
        known = "" if start.is_path else f"; there are: {', '.join(runs_in(runs_dir)) or 'none'}"
        raise _wrong(f"no run {start.run!r} in {directory.parent.absolute()}{known}")
    history = load_history(directory / JOURNAL)
    origin = _origin_of(history, start)
    if origin.checkpoint is None:
        adapted, more = with_initials(config, origin.genome)
        return Found(origin, None, "", b"", adapted, [origin.text(), *more], history)
    theirs, ours = history.config.search.ploidy, config.search.ploidy
    if theirs != ours:
        raise _wrong(
            f"search.ploidy is {theirs} in {start.run!r} but {ours} in this run, and members cannot start "
            "from another number of networks; make them equal, or use take: genome"
        )
    is_program = Path(origin.checkpoint.name).suffix == ".checkpoint"
    if is_program != (config.workload.command is not None):
        kinds = "a program's (workload.command)", "of a workload class (workload.use)"
        its, own = kinds if is_program else kinds[::-1]
        raise _wrong(f"the checkpoints of {start.run!r} are {its}, those of this run {own}")
    url = job_of(history.config, directory.absolute(), history.run_id).checkpoints_url
    try:
        data = CheckpointStore(url).read(origin.checkpoint)
    except DamagedCheckpointError as why:
        copy = find_copy(directory, history, origin.checkpoint)
        if copy is None:
            raise _wrong(f"{why}; `evodevo verify {directory.name} --repair` remakes it") from None
        data = copy
    except CheckpointError as why:
        raise _wrong(str(why)) from None
    facts = [origin.text()]
    if start.take in PARAMETERS_ALONE:
        return Found(origin, origin.checkpoint, url, data, config, facts, history)
    adapted, more = with_initials(config, origin.genome)
    return Found(origin, origin.checkpoint, url, data, adapted, facts + more, history)


def as_begun(config: RunConfig, history: History) -> RunConfig:
    """Return `config` with the initial values that a run started from the origin of `history` would have."""
    start = config.search.start
    if start is None or start.take in PARAMETERS_ALONE or history.origin is None:
        return config
    return with_initials(config, history.origin.genome)[0]


def _origin_of(history: History, start: Start) -> Origin:
    name, before = history.config.run.name, history.origin
    if start.take == "start":
        if before is None or before.checkpoint is None:
            raise _wrong(f"run {start.run!r} did not start from another run; leave out `take: start`")
        return before
    best = history.best
    if best is None or best.outcome is None:
        raise _wrong(f"run {start.run!r} has no best member yet")
    if best.outcome.checkpoint is None and start.take != "genome":
        raise _wrong(
            f"run {start.run!r} keeps no checkpoints: its command has no {{checkpoint_out}}; "
            "copy the values of its schedule.yaml into search.loci instead"
        )
    return Origin(
        name,
        history.run_id,
        best.id,
        history.config.objective.metric,
        best.fom,
        history.epochs_trained(best) + (before.epochs if before else 0),
        dict(best.birth.genome),
        best.outcome.checkpoint if start.take != "genome" else None,
    )


def _wrong(what: str) -> UsageError:
    return UsageError(f"search.start: {what}")
