"""Use any Python function as a workload; `evodevo.maximise` and `evodevo.minimise` make runs of it.

The function is called with the hyperparameters as keyword arguments, and returns the fom. The global
generators of Python, NumPy and torch are seeded before each call. The function is named as
`module:function`, or, if it cannot be imported, by the key under which a client has sent it to the workers of
its cluster: Dask keeps it in their memory and sends it to workers that join later, but it is in no file.
"""

import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import get_worker

from evodevo.errors import UsageError
from evodevo.run.records import SENT_FUNCTION
from workers.build import function_at
from workers.preload import current_device
from workers.seeding import seed_all
from workers.training import Leg


@dataclass
class Call:
    """One evaluation of the function."""

    values: Mapping[str, Any]
    seed: int
    fom: float | None = None


class Function:
    """A function as a workload: `function` is `module:function`, or a name for one `sent` under a key."""

    suffix = ".checkpoint"
    continues = False

    def __init__(self, function: str, sent: str | None = None) -> None:
        self.name = function
        self.function = function_at(function, "the function") if sent is None else _sent(function, sent)

    def prepare(self, device: Any, data_root: str | None) -> None:
        pass

    def begin(
        self,
        hyperparameters: Mapping[str, Any],
        training_seed: int,
        parent: bytes | None,
        leg: Leg = Leg(),  # noqa: B008
    ) -> Call:
        return Call(hyperparameters, training_seed)

    def train(self, call: Call) -> Generator[None, None, None]:
        """Call the function; raise `TypeError` if it does not return a number."""
        seed_all(call.seed, current_device())
        call.fom = number(self.function(**call.values))
        yield

    def checkpoint(self, call: Call) -> bytes | None:
        return None

    def evaluate(self, call: Call, split: str) -> dict[str, float]:
        """Return the fom, for the validation split only."""
        return {"fom": call.fom} if split == "validation" and call.fom is not None else {}

    def exhibits(self, call: Call) -> dict[str, bytes]:
        return {}

    def rehearse(
        self,
        hyperparameters: Mapping[str, Any],
        other: Mapping[str, Any] | None = None,
        leg: Leg = Leg(),  # noqa: B008
        heirs: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[list[str], set[str]]:
        """Check without calling the function that it accepts the hyperparameters as keyword arguments."""
        try:
            signature = inspect.signature(self.function)
        except (TypeError, ValueError):  # functions in C may not have one
            return ["fom"], set(hyperparameters)
        for values in (hyperparameters, other or {}, *heirs) if other else (hyperparameters, *heirs):
            try:
                signature.bind(**values)
            except TypeError as why:
                names = ", ".join(values)
                raise UsageError(f"{self.name}{signature} cannot be called with {names}: {why}") from None
        return ["fom"], set(hyperparameters)

    def facts(self) -> list[str]:
        return [f"function {self.name}"]


def number(value: Any) -> float:
    """Return a function's result as a number; raise `TypeError` if it is not one."""
    if not isinstance(value, str | bytes):
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):  # torch raises the last for more than one element
            pass
    text = repr(value)
    raise TypeError(f"the function should return a number, not {text[:100]}{'...' if text[100:] else ''}")


def _sent(name: str, key: str) -> Callable[..., Any]:
    plugin: Any = get_worker().plugins.get(f"{SENT_FUNCTION}{key}")
    if plugin is None:
        raise UsageError(
            f"the function {name!r} of this run is not available: it could not be imported, so it was sent "
            "to the workers of the cluster on which the run began, and is not in any file. Such a run cannot "
            "be resumed after its cluster or its caller has ended: start it again, or put the function into "
            "a module from which workers can import it"
        )
    found: Callable[..., Any] = plugin.function
    return found
