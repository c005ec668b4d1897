"""The interface of trackers, and a run's history in the form that tracking tools expect."""

import importlib.util
import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from evodevo.config_search import Section
from evodevo.evolution.fitness import best_first
from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.records import Outcome


class Tracker(ABC):
    """Base class of trackers, which report a run's history to one tool.

    A tracker may be killed at any time, and its successor reads the journal from the start. So a tracker
    either rewrites its data, or asks the tool what it has already.
    """

    module: ClassVar[str] = ""
    """The library to import; empty if there is nothing to install."""
    package: ClassVar[str] = ""
    """Name of the library for `pip install`."""

    class Options(Section):
        """Keys of the tracker in the config; subclasses add their own."""

    def __init__(self, directory: Path, options: Any) -> None:
        """Set up the tracker; `directory` is the run's, and `options` is an `Options`."""
        self.directory = directory
        self.options = options

    @classmethod
    def lacking(cls) -> str:
        """Return the name of the library if it is not installed; empty if it is."""
        return cls.module if cls.module and importlib.util.find_spec(cls.module) is None else ""

    @classmethod
    def where(cls, directory: Path, options: Any) -> str:
        """Return how to view the data of the run in `directory`; empty if unknown."""
        return ""

    @abstractmethod
    def update(self, history: History) -> None:
        """Report what is new in the history. `history` is the same object in every call."""

    def close(self) -> None:  # noqa: B027  # optional to override
        """Release the tracker's resources. Called once, also after a failure."""


@dataclass(frozen=True)
class Summary:
    """The foms of a complete generation."""

    generation: int
    foms: tuple[float, ...]
    """Best first; members that failed or diverged have none."""
    unsuccessful: int
    at: float
    """Seconds since the epoch."""

    def numbers(self) -> dict[str, float]:
        """Return the population's values: best, median, worst and unsuccessful."""
        found = {"unsuccessful": float(self.unsuccessful)}
        if self.foms:
            found |= {"best": self.foms[0], "median": statistics.median(self.foms), "worst": self.foms[-1]}
        return found


class Facts:
    """The numbers and texts of a run, under the names that all trackers use."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._space = history.config.space()
        self._steps: dict[str, int] = {}
        """Steps for which each member's parameters were trained at the end of its life, where known."""

    def hyperparameters(self, life: Life) -> Mapping[str, Any]:
        """Return a member's hyperparameters as passed to its workload."""
        return self._space.express(life.birth.genome)

    def choices(self) -> dict[str, str]:
        """Return the meaning of the indices of each hyperparameter that is a choice."""
        labelled = {name: locus.labels for name, locus in self._space.loci.items() if locus.labels}
        return {
            name: ", ".join(f"{at}: {label}" for at, label in enumerate(labels))
            for name, labels in labelled.items()
        }

    def numbers(self, life: Life) -> dict[str, float]:
        """Return fom, metrics/<name> and hyperparameters/<name> of a member whose life is over.

        A choice is given by its index. Values that are not finite numbers are left out.
        """
        assert life.outcome is not None
        found: dict[str, Any] = {"fom": life.outcome.fom}
        found |= {f"metrics/{name}": value for name, value in life.outcome.metrics.items()}
        for name, value in self.hyperparameters(life).items():
            locus: Any = self._space.loci[name]
            found[f"hyperparameters/{name}"] = locus.index(value) if locus.labels else value
        return {name: float(value) for name, value in found.items() if _is_finite(value)}

    def epochs(self, life: Life) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield the number of each epoch of a life and its training metrics, epochs/<name>.

        The number counts the epochs for which the parameters have been trained, from 1.
        """
        if life.outcome is None:
            return
        epoch, length = life.epoch, self.history.config.search.leg_epochs(life.generation)
        for outcome in _that_count(life):
            for number, metrics in enumerate(outcome.epochs, start=1):
                yield (
                    epoch + number,
                    {f"epochs/{name}": value for name, value in metrics.items() if _is_finite(value)},
                )
            epoch += length

    def losses(self, life: Life, before: int | None = None) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield the training losses within the epochs of a life, losses/train_loss, in runs that record them.

        Each comes with the number of the step at the end of its stretch. Steps are counted from 1, after
        `before` steps: by default those for which the parameters had been trained in this run.
        """
        step = self.steps_before(life) if before is None else before
        for outcome in _that_count(life):
            for epoch in outcome.losses:
                for number, mean in enumerate(epoch.means, start=1):
                    if _is_finite(mean):
                        yield step + epoch.steps * number // len(epoch.means), {"losses/train_loss": mean}
                step += epoch.steps

    def steps_before(self, life: Life) -> int:
        """Return for how many steps the parameters that a member began with had been trained in this run.

        It is 0 in a run that does not record losses.
        """
        unknown = [life]
        while (alpha := self.history.alpha(unknown[-1])) and alpha.id not in self._steps:
            unknown.append(alpha)
        total = self._steps[alpha.id] if alpha else 0
        for one in reversed(unknown[1:]):
            total = self._steps[one.id] = total + steps_of(one)
        return total

    def at(self, life: Life) -> float:
        """Return the end of a member's last leg (seconds since the epoch); it never changes."""
        assert life.outcome is not None
        return (life.started_at or life.born_at) + life.outcome.there_s

    def summary(self, generation: int) -> Summary:
        """Return the foms of a complete generation."""
        lives = self.history.generations[generation]
        foms = [life.fom for life in lives if life.fom is not None]
        ordered = tuple(foms[at] for at in best_first(foms, self.history.config.objective.mode))
        return Summary(generation, ordered, len(lives) - len(foms), max(map(self.at, lives)))

    def best_line(self) -> list[Life]:
        """Return the line of the best member so far, founder first; empty before the first result."""
        return self.history.line(self.history.best) if self.history.best else []


class BySlot:
    """A queue of members whose lives are over, in the order of generations within each slot.

    In some paces a child finishes before its predecessor in the slot. It is held back until then, because
    TensorBoard takes a step backwards for a restart.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._waiting: dict[int, list[Life]] = {}
        self._steps: dict[int, int] = {}

    def steps_before(self, life: Life) -> int:
        """Return for how many steps earlier members of the slot were trained; to be called once per member.

        As lines cross slots, the steps of the parameters may be fewer than those of the member before.
        """
        before = self._steps.get(life.slot, 0)
        self._steps[life.slot] = before + steps_of(life)
        return before

    def take(self, history: History) -> list[Life]:
        """Return the members that are ready and were not returned before."""
        for life in history.births[self._seen :]:
            self._waiting.setdefault(life.slot, []).append(life)
        self._seen = len(history.births)
        found = []
        for lives in self._waiting.values():
            done = next((at for at, life in enumerate(lives) if life.outcome is None), len(lives))
            found += lives[:done]
            del lives[:done]
        return found


class Complete:
    """A queue of complete generations, in order."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, facts: Facts) -> Iterator[Summary]:
        """Yield the generations that are complete and were not yielded before."""
        while facts.history.complete(self._next):
            yield facts.summary(self._next)
            self._next += 1


def steps_of(life: Life) -> int:
    """Return the number of steps of a life, or 0 in a run that does not record losses."""
    return sum(epoch.steps for outcome in _that_count(life) for epoch in outcome.losses)


def _that_count(life: Life) -> list[Outcome]:
    """Return the outcomes of a life's legs so far, without those of earlier repeats."""
    return list(life.outcomes())[life.begins(len(life.legs)) :]


def about(history: History) -> dict[str, Any]:
    """Return a description of a run as plain values by dotted keys; it never changes."""
    config = history.config
    search, workload = config.search, config.workload
    command = workload.command if isinstance(workload.command, str) else " ".join(workload.command or ())
    found = {
        "run.name": config.run.name,
        "run.seed": config.run.seed,
        "workload": workload.use or command,
        **{f"workload.options.{name}": value for name, value in workload.options.items()},
        "objective.metric": config.objective.metric,
        "objective.mode": config.objective.mode,
        "search.strategy": search.strategy,
        "search.population": search.population,
        **{f"search.options.{name}": value for name, value in search.options.items()},
    }
    return found | {f"choices.{name}": text for name, text in Facts(history).choices().items()}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
