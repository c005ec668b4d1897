"""A model and its optimizer as a member's state, without a workload."""

from typing import Any

import torch
from torch import nn

from workers import state
from workers.hyperparameters import Hyperparameters
from workers.training import Training


def training_of(model: nn.Module, optimizer: Any, given: Any = None) -> Training:
    """A member that consists of these; `given`: one whose settings count as those it was made with."""
    training = Training(model, optimizer, Hyperparameters({}), torch.Generator())
    training.given = given or state.given(training)
    return training


def encode(model: nn.Module, optimizer: Any) -> bytes:
    return state.encode(training_of(model, optimizer))


def restore(data: bytes, model: nn.Module, optimizer: Any) -> list[str]:
    """Returns the notes."""
    training = training_of(model, optimizer)
    state.restore(data, training)
    return training.notes
