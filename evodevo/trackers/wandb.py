"""Weights & Biases in offline mode: files in the run's directory, to upload when the run is over.

    wandb sync checkpoints/RUN/wandb/offline-run-*

Nothing leaves the machine before that. After a restart the files are replaced by new ones made from the
journal, so an upload contains the whole run once.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evodevo.run.history import History
from evodevo.trackers.base import BySlot, Complete, Facts, Tracker, about


class WeightsAndBiases(Tracker):
    """A tracker that logs one row per member, and one per complete generation."""

    module = "wandb"
    package = "wandb"

    class Options(Tracker.Options):
        project: str = "evodevo"
        entity: str | None = None
        """The user or team that the project belongs to."""

    options: Options

    def __init__(self, directory: Path, options: Options) -> None:
        super().__init__(directory, options)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        for path in (directory / "wandb").glob("offline-run-*"):
            shutil.rmtree(path)
        self._run: Any = None
        self._by_slot, self._complete = BySlot(), Complete()
        self._has_ended = False

    @classmethod
    def where(cls, directory: Path, options: Options) -> str:
        return f"wandb sync {directory / 'wandb'}/offline-run-*"

    def update(self, history: History) -> None:
        import wandb

        facts = Facts(history)
        run = self._run = self._run or self._begin(history)
        for life in self._by_slot.take(history):
            numbers = {f"slot{life.slot:03d}/{name}": value for name, value in facts.numbers(life).items()}
            run.log({"generation": life.generation, **numbers})
            self._tell_losses(f"slot{life.slot:03d}", facts.losses(life, self._by_slot.steps_before(life)))
        for summary in self._complete.take(facts):
            row: dict[str, Any] = {f"population/{name}": value for name, value in summary.numbers().items()}
            if len(summary.foms) > 1:
                row["foms"] = wandb.Histogram(list(summary.foms))
            run.log({"generation": summary.generation, **row})
        if history.best:
            run.summary.update({"best/fom": history.best.fom, "best/member": history.best.id})
        if history.end and not self._has_ended:
            self._tell_end(facts)
        self._has_ended = history.end is not None

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()

    def _begin(self, history: History) -> Any:
        import wandb

        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True
        )
        run = wandb.init(
            mode="offline",
            dir=str(self.directory),
            id=f"{history.config.run.name}-{history.run_id}",
            name=history.config.run.name,
            project=self.options.project,
            entity=self.options.entity,
            config=about(history),
            settings=settings,
        )
        for names in ("slot*", "population/*", "best_line/*", "foms"):
            run.define_metric(names, step_metric="generation")
        run.define_metric("epochs/*", step_metric="epoch")
        run.define_metric("losses/*", step_metric="training_step")
        return run

    def _tell_losses(self, curve: str, found: Iterable[tuple[int, dict[str, float]]]) -> None:
        """Log losses as losses/train_loss/<curve>, a row each."""
        for step, losses in found:
            self._run.log({"training_step": step, **{f"{name}/{curve}": at for name, at in losses.items()}})

    def _tell_end(self, facts: Facts) -> None:
        """Log the best member's line, which is final only now, and the metrics on the test split."""
        for life in facts.best_line():
            numbers = {f"best_line/{name}": value for name, value in facts.numbers(life).items()}
            self._run.log({"generation": life.generation, **numbers})
            for epoch, metrics in facts.epochs(life):
                self._run.log({"epoch": epoch, **metrics})
            self._tell_losses("best_line", facts.losses(life))
        self._run.summary.update({f"test/{name}": value for name, value in facts.history.test.items()})
