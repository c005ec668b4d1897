"""What several networks predict together, for `Workload.combine`: outputs as one network would have them."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_distribution(logits: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of the mean of the distributions that logits (n, classes, ...) stand for.

    Taken as logits it stands for that mean, so that its cross entropy is the negative log-likelihood of the
    mean, and its largest class that of the mean (Lakshminarayanan et al. 2017, arXiv 1612.01474).
    """
    return _log_mean_exp([one.log_softmax(1) for one in logits])


def mean_probability(logits: Sequence[Tensor]) -> Tensor:
    """Return the logit of the mean of the probabilities that logits, of any shape, stand for one by one."""
    yes = _log_mean_exp([F.logsigmoid(one) for one in logits])
    no = _log_mean_exp([F.logsigmoid(-one) for one in logits])
    return yes - no


def _log_mean_exp(logarithms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(logarithms)).logsumexp(0) - math.log(len(logarithms))
