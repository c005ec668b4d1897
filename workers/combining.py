"""Combine the predictions of several networks into those of one, for `Workload.combine`."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_distribution(logits: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of the mean of the distributions given by logits (n, classes, ...).

    The result is valid as logits: its cross entropy is the negative log-likelihood of the mean, and its
    argmax that of the mean (Lakshminarayanan et al. 2017, arXiv 1612.01474).
    """
    return _log_mean_exp([one.log_softmax(1) for one in logits])


def mean_probability(logits: Sequence[Tensor]) -> Tensor:
    """Return the logit of the mean of the probabilities given by logits of any shape, elementwise."""
    yes = _log_mean_exp([F.logsigmoid(one) for one in logits])
    no = _log_mean_exp([F.logsigmoid(-one) for one in logits])
    return yes - no


def _log_mean_exp(logarithms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(logarithms)).logsumexp(0) - math.log(len(logarithms))
