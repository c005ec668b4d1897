"""Load or export a run's model for use without evodevo.

import evodevo

model.load_state_dict(evodevo.load_model("checkpoints/quickstart"))
"""

import hashlib
from pathlib import Path
from typing import Any

from evodevo.errors import UsageError
from evodevo.run import files
from evodevo.run.checkpoints import CheckpointError, CheckpointStore, DamagedCheckpointError
from evodevo.run.dispatch import call_by_path
from evodevo.run.history import History, load_history
from evodevo.run.records import CheckpointRef
from evodevo.run.setup import JOURNAL, job_of
from evodevo.run.view import directory_of
from evodevo.service.run_handle import Run

PLAIN_STATE = "workers.takeaway:plain_state"
PLAIN_FILE = "workers.takeaway:plain_file"
IS_PACKED = "workers.directories:is_packed"
UNPACK = "workers.directories:unpack"
SUFFIXES = (".safetensors", ".pt", ".pth")


class Damaged(UsageError):
    """The checkpoint in a run's store is not the one that was published."""


def load_model(
    run: Run | Path | str, runs_dir: Path | str = "checkpoints", member: bool = False
) -> dict[str, Any]:
    """Return the `state_dict` of a run's model, with its tensors on the CPU.

    The model is the run's soup if that is better on the validation split than the best member, and otherwise
    the best member; with `member`, always the latter, whose schedule is `schedule.yaml`. `run` is a
    directory, a run's name in `runs_dir`, or a `Run`. In an ensemble, the names of network i begin with
    `networks.<i>.`. Raises `UsageError` if there is no such run, it has no checkpoint yet, or a program wrote
    its checkpoints.
    """
    directory = directory_of(str(run.directory if isinstance(run, Run) else run), str(runs_dir))
    ref, data, _ = _product(directory, member)
    if _is_of_program(ref):
        raise UsageError(
            f"the checkpoints of {directory.name!r} are its program's own files; "
            f"`evodevo export {directory.name}` copies the best one"
        )
    state: dict[str, Any] = _read(PLAIN_STATE, directory, data)
    return state


def export(directory: Path, out: Path | None = None, member: bool = False) -> tuple[Path, str]:
    """Write the model that `load_model` returns to a file; return its path and a description of its content.

    `out` must end in .safetensors, .pt or .pth, except for a program's checkpoint, which is copied as it is.
    The default is `model.safetensors` (or `model.checkpoint`) in the run's directory. Raises `UsageError`.
    """
    ref, data, whose = _product(directory, member)
    if _is_of_program(ref):
        path = out or directory / "model.checkpoint"
        if _read(IS_PACKED, directory, data):
            return _unpacked(directory, data, path), "the directory that the program wrote, as it was"
        content, what = data, "the checkpoint that the program wrote, as it is"
    else:
        path = out or directory / "model.safetensors"
        if path.suffix not in SUFFIXES:
            raise UsageError(f"--out {path}: should end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
        content = _read(PLAIN_FILE, directory, data, path.suffix)
        what = f"a state_dict with plain names, of {whose}"
    _check_parent(path)
    files.replace(path, content)
    return path, what


def _unpacked(directory: Path, data: bytes, path: Path) -> Path:
    """Unpack a program's checkpoint that is a directory; never overwrite an existing path."""
    _check_parent(path)
    if path.exists():
        raise UsageError(f"{path} already exists: remove it, or give another name with --out")
    _read(UNPACK, directory, data, path)
    return path


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: the directory {path.parent} does not exist")


def _read(function: str, directory: Path, *arguments: Any) -> Any:
    """Call a function by its import path, because it needs torch."""
    try:
        return call_by_path(function, arguments)
    except ModuleNotFoundError as why:
        raise UsageError(f"cannot read a model here: {why}") from None
    except ValueError as why:
        raise UsageError(f"the best checkpoint of {directory.name!r}: {why}") from None


def _is_of_program(ref: CheckpointRef) -> bool:
    return Path(ref.name).suffix == ".checkpoint"


def _product(directory: Path, member: bool) -> tuple[CheckpointRef, bytes, str]:
    """Return the checkpoint of the soup if that is better, else of the best member; its bytes; its origin.

    The bytes come from the copy in the run's directory if its hash matches, and otherwise from the store.
    """
    history = load_history(directory / JOURNAL)
    best, soup = history.best, None if member else history.better_soup
    if best is None or best.outcome is None:
        raise UsageError(f"run {directory.name!r} has no best member yet")
    ref = soup.checkpoint if soup else best.outcome.checkpoint
    whose = f"the mean of {len(soup.of)} members (--member: {best.id} alone)" if soup else f"member {best.id}"
    if (ploidy := history.config.search.ploidy) > 1:
        whose += f", an ensemble of {ploidy} networks"
    if ref is None:
        raise UsageError(
            f"run {directory.name!r} has no checkpoints, because its command does not use {{checkpoint_out}}"
        )
    copy = directory / f"{'soup' if soup else 'best'}{Path(ref.name).suffix}"
    data = copy.read_bytes() if copy.exists() else b""
    if hashlib.sha256(data).hexdigest() == ref.sha256:
        return ref, data, whose
    return ref, _from_store(directory, history, ref), whose


def _from_store(directory: Path, history: History, ref: CheckpointRef) -> bytes:
    try:
        return CheckpointStore(job_of(history.config, directory, history.run_id).checkpoints_url).read(ref)
    except DamagedCheckpointError as why:
        raise Damaged(f"{why}; `evodevo verify {directory.name} --repair` recreates it") from None
    except CheckpointError as why:
        raise UsageError(str(why)) from None
