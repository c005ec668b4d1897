"""Use any program as a workload.

Each hyperparameter becomes a flag, `--name value` or as `workload.flags` says (see `evodevo.command_flags`),
unless the command has a placeholder `{name}` for it. Further placeholders: `{checkpoint_in}`, the path of the
parameters to start from (empty for a founder), `{checkpoint_out}`, the path where to save them, as a file or
a directory, `{seed}`, `{epoch_dir}`, a directory for this attempt, and `{data_root}`. The last line
`FoM: <number>` on its standard output is the fom.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evodevo.command_flags import OWN_PLACEHOLDERS, FlagKind, flag_of, placeholders, text_of
from evodevo.errors import UsageError
from workers import directories
from workers.training import Leg

FOM_LINE = re.compile(r"^FoM:[ \t]*(\S+)[ \t]*$", re.MULTILINE)
BRACES = "write literal braces twice"
POLL_S = 0.1
TAIL_CHARACTERS = 2000


class CommandFailed(Exception):
    """The program failed; the message has the reason and the tail of its output."""


@dataclass
class Attempt:
    """One call of the program, and its temporary directory, which is deleted with this object."""

    arguments: list[str]
    directory: tempfile.TemporaryDirectory[str]
    fom: float | None = None

    @property
    def stdout(self) -> Path:
        return Path(self.directory.name, "stdout")

    @property
    def stderr(self) -> Path:
        return Path(self.directory.name, "stderr")

    @property
    def checkpoint_out(self) -> Path:
        return Path(self.directory.name, "checkpoint_out")


class Command:
    """A program as a workload: `command` is run once per epoch; `flags` says how flags are written."""

    suffix = ".checkpoint"
    continues = False

    def __init__(self, command: str | list[str], flags: Mapping[str, FlagKind] | None = None) -> None:
        self.flags = dict(flags or {})
        try:
            self.template = shlex.split(command) if isinstance(command, str) else command
            self.placeholders = {name for part in self.template for name in placeholders(part)}
        except ValueError as why:
            raise UsageError(f"workload.command: {why}; {BRACES}") from None
        self.data_root = ""

    def prepare(self, device: Any, data_root: str | None) -> None:
        self.data_root = data_root or ""

    def begin(
        self,
        hyperparameters: Mapping[str, Any],
        training_seed: int,
        parent: bytes | None,
        leg: Leg = Leg(),  # noqa: B008
    ) -> Attempt:
        directory = tempfile.TemporaryDirectory(prefix="evodevo-")
        checkpoint_in = Path(directory.name, "checkpoint_in") if parent is not None else None
        if checkpoint_in is not None and parent is not None:
            _write(parent, checkpoint_in)
        own = {
            "checkpoint_in": str(checkpoint_in or ""),
            "checkpoint_out": str(Path(directory.name, "checkpoint_out")),
            "seed": str(training_seed),
            "epoch_dir": directory.name,
            "data_root": self.data_root,
        }
        return Attempt(self.arguments(hyperparameters, own), directory)

    def arguments(self, hyperparameters: Mapping[str, Any], own: Mapping[str, str]) -> list[str]:
        """Return the program's argument list, with placeholders filled in and flags appended."""
        values = {**{name: text_of(value) for name, value in hyperparameters.items()}, **own}
        unknown = self.placeholders - values.keys()
        if unknown:
            raise UsageError(
                f"workload.command: no hyperparameter for the placeholder {{{min(unknown)}}}; "
                f"there are {', '.join(values)}; {BRACES}"
            )
        filled = [part.format_map(values) for part in self.template]
        for name, value in hyperparameters.items():
            if name not in self.placeholders:
                filled += flag_of(name, value, self.flags.get(name, "value"))
        return filled

    def train(self, attempt: Attempt) -> Generator[None, None, None]:
        """Run the program to its end; raise `CommandFailed`, and extend a `TimeoutError` thrown in."""
        leash = [sys.executable, "-m", "workers.leash", str(os.getpid())]
        with attempt.stdout.open("wb") as out, attempt.stderr.open("wb") as err:
            process = subprocess.Popen(
                [*leash, *attempt.arguments], stdout=out, stderr=err, stdin=subprocess.DEVNULL
            )
            try:
                while _still_runs(process):
                    yield
            except TimeoutError as why:
                raise TimeoutError(f"{why}{_tail(attempt)}") from None
            finally:
                process.terminate()  # the leash kills the program's whole process group
                process.wait()
        program = shlex.join(attempt.arguments)
        if process.returncode != 0:
            raise CommandFailed(f"{program}: exit status {process.returncode}{_tail(attempt)}")
        found = FOM_LINE.findall(attempt.stdout.read_text(errors="replace"))
        try:
            attempt.fom = float(found[-1])
        except (IndexError, ValueError):
            said = f"its last one is 'FoM: {found[-1]}'" if found else "there is none"
            raise CommandFailed(
                f"{program}: should print a line 'FoM: <number>'; {said}{_tail(attempt)}"
            ) from None

    def checkpoint(self, attempt: Attempt) -> bytes | None:
        if "checkpoint_out" not in self.placeholders:
            return None
        out, program = attempt.checkpoint_out, shlex.join(attempt.arguments)
        try:
            return directories.pack(out) if out.is_dir() else out.read_bytes()
        except FileNotFoundError:
            left = "left no file or directory at {checkpoint_out}"
        except ValueError as why:
            left = f"left a directory at {{checkpoint_out}} that cannot be kept: {why}"
        raise CommandFailed(f"{program}: {left}{_tail(attempt)}")

    def evaluate(self, attempt: Attempt, split: str) -> dict[str, float]:
        """Return the fom that the program printed, for the validation split only."""
        return {"fom": attempt.fom} if split == "validation" and attempt.fom is not None else {}

    def exhibits(self, attempt: Attempt) -> dict[str, bytes]:
        return {}

    def rehearse(
        self,
        hyperparameters: Mapping[str, Any],
        other: Mapping[str, Any] | None = None,
        leg: Leg = Leg(),  # noqa: B008
        heirs: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[list[str], set[str]]:
        """Check the command without running it: the program is there and the placeholders are known."""
        clash = set(hyperparameters) & set(OWN_PLACEHOLDERS)
        if clash:
            raise UsageError(f"search.loci.{min(clash)}: is the name of a placeholder; choose another")
        if "checkpoint_in" in self.placeholders and "checkpoint_out" not in self.placeholders:
            raise UsageError(
                "workload.command: {checkpoint_in} stays empty without {checkpoint_out}; give both"
            )
        arguments = self.begin(hyperparameters, 0, None).arguments
        if shutil.which(arguments[0]) is None:
            if os.path.exists(arguments[0]):
                raise UsageError(f"workload.command: {arguments[0]} exists but is not executable (chmod +x)")
            raise UsageError(
                f"workload.command: program {arguments[0]!r} not found on the worker (in {os.getcwd()})"
            )
        return ["fom"], set(hyperparameters)

    def facts(self) -> list[str]:
        kind = "with" if "checkpoint_out" in self.placeholders else "without"
        return [f"command {shlex.join(self.template)}, {kind} checkpoints"]


def _write(parent: bytes, path: Path) -> None:
    """Restore a checkpoint at `path`, as the file or directory that the program saved."""
    if not directories.is_packed(parent):
        path.write_bytes(parent)
        return
    try:
        directories.unpack(parent, path)
    except tarfile.TarError as why:
        raise CommandFailed(f"the directory to start from cannot be unpacked: {why}") from None


def _still_runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _tail(attempt: Attempt) -> str:
    parts = []
    for name in ("stdout", "stderr"):
        path: Path = getattr(attempt, name)
        text = path.read_text(errors="replace")[-TAIL_CHARACTERS:].strip()
        if text:
            parts.append(f"\n--- end of its {name}:\n{text}")
    return "".join(parts)
