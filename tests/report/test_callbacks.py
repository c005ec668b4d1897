"""A schedule drives trainers of other libraries, epoch by epoch."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from evodevo.errors import UsageError
from evodevo.report.schedule import Entry, Schedule
from tests.golden import raises_golden

DATA = [{"x": torch.full((2,), float(number)), "labels": torch.tensor(0.0)} for number in range(8)]
RATES = (0.1, 0.1, 0.02, 0.05)
"""Of four epochs in three lives, the first of which has two."""


def schedule_of(*lives: tuple[int, Mapping[str, Any]], **changes: Any) -> Schedule:
    entries = [Entry(f"g{at}", at, 0.5, hp, hp, epochs, **changes) for at, (epochs, hp) in enumerate(lives)]
    return Schedule("small", "g2", "loss", 0.25, None, entries)


def rates_and(**others: Sequence[Any]) -> Schedule:
    """The schedule of those rates; the other hyperparameters have a value for each life."""
    lives = zip((2, 1, 1), (0.1, 0.02, 0.05), strict=True)
    return schedule_of(
        *(
            (epochs, {"learning_rate": rate, **{name: values[at] for name, values in others.items()}})
            for at, (epochs, rate) in enumerate(lives)
        )
    )


class Seen:
    """What the optimizer has when each of the steps is made."""

    def __init__(self) -> None:
        self.groups: list[list[dict[str, Any]]] = []

    def of(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        optimizer.register_step_pre_hook(self._look)
        return optimizer

    def _look(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.groups.append(
            [{k: v for k, v in one.items() if k != "params"} for one in optimizer.param_groups]
        )

    def values(self, key: str, group: int = 0) -> list[Any]:
        return [groups[group][key] for groups in self.groups]


class Linear(nn.Module):
    """A network as Hugging Face's Trainer takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout = nn.Linear(2, 1), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.dropout(self.layer(x)).squeeze(1) - labels).square().mean()}


def groups_of(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    weights = [one for name, one in model.named_parameters() if name.endswith("weight")]
    biases = [one for name, one in model.named_parameters() if name.endswith("bias")]
    return [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]


def trained_by_hugging_face(
    directory: Path,
    callback: Any,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    resume: str | None = None,
    **changes: Any,
) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    settings = {"num_train_epochs": 4, "lr_scheduler_type": "constant", **changes}
    arguments = transformers.TrainingArguments(
        str(directory),
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        **settings,
    )
    trainer = transformers.Trainer(
        model, arguments, train_dataset=DATA, callbacks=[callback], optimizers=(optimizer, None)
    )
    trainer.train(resume_from_checkpoint=resume)


def sgd(model: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1.0, **settings)


def test_hugging_faces_trainer_has_the_settings_of_each_epoch_in_each_step(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model, seen = Linear(), Seen()
    callback = rates_and(momentum=(0.5, 0.0, 0.9)).hugging_face_callback()
    trained_by_hugging_face(tmp_path, callback, model, seen.of(sgd(model, momentum=0.1)))
    assert seen.values("lr") == [rate for rate in RATES for _ in range(2)]
    assert seen.values("momentum") == [0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.9, 0.9]


def test_a_scheduler_of_the_trainers_multiplies_the_rates_and_that_is_said(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model, seen = Linear(), Seen()
    with pytest.warns(UserWarning, match='linear scheduler multiplies .*lr_scheduler_type="constant"'):
        trained_by_hugging_face(
            tmp_path,
            rates_and().hugging_face_callback(),
            model,
            seen.of(sgd(model)),
            lr_scheduler_type="linear",
        )
    assert seen.values("lr") == pytest.approx([RATES[step // 2] * (1 - step / 8) for step in range(8)])


def test_a_training_that_is_resumed_within_an_epoch_has_its_settings(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    schedule = rates_and(p=(0.1, 0.2, 0.3))
    saved: dict[str, Any] = {"save_strategy": "steps", "save_steps": 5}
    told: list[float] = []
    for resume in (None, str(tmp_path / "checkpoint-5")):
        model, seen = Linear(), Seen()
        told.clear()
        callback = schedule.hugging_face_callback(lambda settings, model: told.append(settings["p"]))
        trained_by_hugging_face(tmp_path, callback, model, seen.of(sgd(model)), resume, **saved)
    assert seen.values("lr") == [0.02, 0.05, 0.05]
    assert told == [0.2, 0.3]


def test_a_weight_decay_is_set_where_there_is_one(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model, seen = Linear(), Seen()
    schedule = rates_and(weight_decay=(0.0, 0.2, 0.3))
    optimizer = torch.optim.AdamW(groups_of(model, 0.5))
    trained_by_hugging_face(tmp_path, schedule.hugging_face_callback(), model, seen.of(optimizer))
    assert seen.values("weight_decay", 0) == [0.0] * 4 + [0.2] * 2 + [0.3] * 2
    assert seen.values("weight_decay", 1) == [0.0] * 8
    with raises_golden("callbacks/no-weight-decay", UsageError):
        undecided = torch.optim.AdamW(groups_of(model, 0.0))
        trained_by_hugging_face(tmp_path, schedule.hugging_face_callback(), model, undecided)


def test_what_no_optimizer_knows_is_given_to_apply_and_named_without_it(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model, applied = Linear(), []

    def apply(settings: dict[str, Any], given: Any) -> None:
        given.dropout.p = settings["dropout"]
        applied.append(settings)

    schedule = rates_and(dropout=(0.1, 0.2, 0.3))
    trained_by_hugging_face(tmp_path, schedule.hugging_face_callback(apply), model, sgd(model))
    assert applied == [{"dropout": value} for value in (0.1, 0.1, 0.2, 0.3)]
    assert model.dropout.p == 0.3
    with raises_golden("callbacks/dropout", UsageError):
        trained_by_hugging_face(tmp_path, schedule.hugging_face_callback(), model, sgd(model))


def test_a_training_longer_than_the_schedule_is_refused_before_it_begins(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model, seen = Linear(), Seen()
    with raises_golden("callbacks/training-too-long", UsageError):
        trained_by_hugging_face(
            tmp_path, rates_and().hugging_face_callback(), model, seen.of(sgd(model)), num_train_epochs=5
        )
    assert not seen.groups


def test_a_schedule_that_counts_steps_is_refused() -> None:
    pytest.importorskip("transformers")
    schedule = schedule_of((2, {"learning_rate": 0.1}), steps=100)
    for make in (schedule.hugging_face_callback, schedule.lightning_callback):
        with raises_golden("callbacks/schedule-of-steps", UsageError):
            make()


def trained_by_lightning(
    schedule: Schedule,
    apply: Any = None,
    seen: Seen | None = None,
    resume: Path | None = None,
    **changes: Any,
) -> Any:
    """The module after a training with an ExponentialLR, which halves the rate after each epoch."""
    pl = pytest.importorskip("pytorch_lightning")

    class Module(pl.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = Linear()

        def training_step(self, batch: Any, at: int) -> torch.Tensor:
            loss: torch.Tensor = self.net(**batch)["loss"]
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = (seen or Seen()).of(sgd(self))
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]

    module = Module()
    settings = {"max_epochs": 4, "callbacks": [], "enable_checkpointing": False, **changes}
    settings["callbacks"] = [*settings["callbacks"], schedule.lightning_callback(apply)]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", **quiet, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batches: Any = torch.utils.data.DataLoader(DATA, 4)  # type: ignore[arg-type]
        trainer.fit(module, batches, ckpt_path=resume)
    return module


def test_lightnings_trainer_has_the_settings_of_each_epoch_times_what_the_scheduler_makes_of_them() -> None:
    pytest.importorskip("pytorch_lightning")
    seen = Seen()
    module = trained_by_lightning(
        rates_and(dropout=(0.1, 0.2, 0.3)),
        lambda settings, given: setattr(given.net.dropout, "p", settings["dropout"]),
        seen,
    )
    assert seen.values("lr") == [RATES[step // 2] * 0.5 ** (step // 2) for step in range(8)]
    assert module.net.dropout.p == 0.3


def test_a_training_of_lightnings_that_is_resumed_within_an_epoch_has_its_settings(tmp_path: Path) -> None:
    pl = pytest.importorskip("pytorch_lightning")
    schedule = rates_and(p=(0.1, 0.2, 0.3))
    told: list[float] = []
    for resume in (None, tmp_path / "step=5.ckpt"):
        saver = pl.callbacks.ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=5, save_top_k=-1)
        seen = Seen()
        told.clear()
        trained_by_lightning(
            schedule,
            lambda settings, module: told.append(settings["p"]),
            seen,
            resume,
            callbacks=[saver],
            enable_checkpointing=True,
        )
    assert seen.values("lr") == [0.02 / 4, 0.05 / 8, 0.05 / 8]
    assert told == [0.2, 0.3]


def test_lightning_is_told_what_is_wrong() -> None:
    pytest.importorskip("pytorch_lightning")
    with raises_golden("callbacks/lightning-dropout", UsageError):
        trained_by_lightning(rates_and(dropout=(0.1, 0.2, 0.3)))
    for name, epochs in (("too-long", 5), ("endless", -1)):
        with raises_golden(f"callbacks/lightning/{name}", UsageError):
            trained_by_lightning(rates_and(), max_epochs=epochs)


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformers", "pytorch_lightning", "lightning.pytorch", "lightning"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with raises_golden("callbacks/no-transformers", UsageError):
        rates_and().hugging_face_callback()
    with raises_golden("callbacks/no-lightning", UsageError):
        rates_and().lightning_callback()
