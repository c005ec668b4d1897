"""Build a workload from the config's `workload` section."""

import importlib
import inspect
import json
import os
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

from pydantic import ConfigDict, ValidationError, create_model

from evodevo import installed
from evodevo.config_errors import describe
from evodevo.errors import UsageError
from evodevo.run.place import place_of
from workers.training import Leg


class Trainable(Protocol):
    """The interface of workloads, implemented by `Workload`, `Command` and others.

    `state` is a member in training, in whatever form the workload keeps it. `suffix` is the suffix of its
    checkpoints: `.safetensors`, or `.checkpoint` for bytes that only the workload understands.
    """

    suffix: str
    continues: bool
    """Whether `train` may be called on a state again, for its next epoch."""

    def prepare(self, device: Any, data_root: str | None) -> None: ...

    def begin(
        self, hyperparameters: Mapping[str, Any], training_seed: int, parent: bytes | None, leg: Leg = ...
    ) -> Any: ...

    def train(self, state: Any) -> Generator[Any, None, None]:
        """Train one epoch, yielding losses, or None, from time to time."""

    def checkpoint(self, state: Any) -> bytes | None: ...

    def evaluate(self, state: Any, split: str) -> dict[str, float]: ...

    def exhibits(self, state: Any) -> Mapping[str, bytes]: ...

    def rehearse(
        self,
        hyperparameters: Mapping[str, Any],
        other: Mapping[str, Any] | None = None,
        leg: Leg = ...,
        heirs: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[list[str], set[str]]:
        """Try a round with two members; return the metrics reported and the hyperparameters read."""

    def facts(self) -> list[str]: ...


def build(workload: Mapping[str, Any]) -> Trainable:
    """Return the workload that the config's section describes, not yet prepared.

    Raises `UsageError` if the class cannot be imported, is not a workload, or does not accept the options.
    """
    if workload["command"] is not None:
        from workers.workloads.command import Command

        options = _checked(Command, workload["options"], skip=("command", "flags"))
        return Command(workload["command"], workload.get("flags"), **options)
    found = _import(workload["use"])
    made: Trainable = found(**_checked(found, workload["options"]))
    return made


def _import(use: str) -> Any:
    """Return the class at an import path or behind an entry point's name."""
    try:
        path = use if ":" in use else installed.path_of(installed.WORKLOADS, use)
    except ValueError as why:
        raise UsageError(f"workload.use: {why}") from None
    if path is None:
        names = ", ".join(installed.names(installed.WORKLOADS)) or "none"
        raise UsageError(
            f"workload.use: no installed package provides the workload {use!r}; available: {names}"
        )
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as why:  # a user's module may raise anything while it is imported
        where = _cause_of(why, module_name)
        raise UsageError(
            f"workload.use: cannot import {module_name!r}: {type(why).__name__}: {why}{where}"
        ) from why
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
        near = get_close_matches(class_name, classes, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"workload.use: {module_name!r} has no class {class_name!r}{hint}")
    if inspect.isabstract(found) or not hasattr(found, "rehearse"):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ()))) or "workers.workload.Workload"
        raise UsageError(f"workload.use: {path} is not a complete workload; it lacks {missing}")
    return found


def function_at(path: str, what: str) -> Callable[..., Any]:
    """Return the function at an import path, `module:function`; a `UsageError` names it by `what`."""
    module_name, _, name = path.partition(":")
    if not name:
        raise UsageError(f"{what} {path!r} should be an import path, module:function")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as why:  # a user's module may raise anything while it is imported
        where = _cause_of(why, module_name)
        raise UsageError(f"{what} {path!r} cannot be imported: {type(why).__name__}: {why}{where}") from why
    if not callable(found):
        raise UsageError(f"{what} {path!r} is not a function")
    function: Callable[..., Any] = found
    return function


def _cause_of(error: BaseException, module_name: str) -> str:
    """Return, in parentheses, where a module was not found or where its import failed."""
    not_found = error.name if isinstance(error, ModuleNotFoundError) else None
    if not_found is not None and f"{module_name}.".startswith(f"{not_found}."):
        return _where_it_looked(module_name)
    return place_of(error, importlib.__file__, __file__)


def _where_it_looked(module_name: str) -> str:
    return (
        f" (the worker looked in {os.getcwd()} and in its PYTHONPATH"
        f"{': ' + os.environ['PYTHONPATH'] if os.environ.get('PYTHONPATH') else ''}; "
        f"start it in the directory of {module_name.partition('.')[0]}.py)"
    )


def _checked(workload: type, options: Mapping[str, Any], skip: Collection[str] = ()) -> dict[str, Any]:
    """Return the options, checked against the names, types and defaults of the class's `__init__`."""
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(workload, eval_str=True).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name not in skip:
            kind = Any if parameter.annotation is parameter.empty else parameter.annotation
            fields[name] = (kind, ... if parameter.default is parameter.empty else parameter.default)
    settings = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
    model = create_model("Options", __config__=settings, **fields)
    try:
        # as JSON: a list may be a tuple, text a path
        return dict(model.model_validate_json(json.dumps(options)))
    except ValidationError as why:
        raise UsageError("; ".join(describe(why, model, ("workload", "options")))) from None
