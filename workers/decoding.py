"""Greedy search and beam search for the sentences that a sequence model predicts.

Both decode a batch of sentences. A model is a function `step(words, state)`: it takes the last word of
each of n sentences, int64 (n,), and returns log-probabilities float32 (n, vocabulary) of the next one, and
the new state: tensors with the sentences along their first dimension.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from workers.data.translation import BEGIN, END

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], tuple[Tensor, State]]


def greedy(step: Step, state: State, limits: Tensor) -> list[list[int]]:
    """Return for each sentence the likeliest word at each step, up to `END` or `limits` words, int64 (n,).

    `END` is left out of the result.
    """
    words = torch.full_like(limits, BEGIN)
    ended = torch.zeros_like(limits, dtype=torch.bool)
    chosen = []
    for length in range(1, int(limits.max()) + 1):
        log_probabilities, state = step(words, state)
        words = log_probabilities.argmax(-1).masked_fill(ended, END)
        chosen.append(words)
        ended = ended | (words == END) | (limits == length)
        if ended.all():
            break
    return [_before_end(sentence) for sentence in torch.stack(chosen, 1).tolist()]


def beam(
    step: Step, state: State, limits: Tensor, width: int, length_penalty: float
) -> list[tuple[list[int], float]]:
    """Return for each sentence the best one that a search with `width` hypotheses finds, and its score.

    The score of a sentence of l words, including `END`, is the sum of their log-probabilities over
    ((5 + l) / 6) ** length_penalty (Wu et al. 2016, arXiv 1609.08144, equation 14, without its coverage).
    A hypothesis that has ended keeps its place in the beam while its penalised score is among the `width`
    best; a hypothesis ends after `limits` words. `width` 1 is greedy search. `END` is left out of the result.
    """
    count, device = len(limits), limits.device
    state = tuple(tensor.repeat_interleave(width, 0) for tensor in state)
    words = torch.full((count, width), BEGIN, device=device)
    history = words[..., None]
    totals = torch.full((count, width), -torch.inf, device=device)
    totals[:, 0] = 0.0  # at first all hypotheses are equal, so only one counts
    sizes = torch.zeros_like(words)
    ended = torch.zeros_like(words, dtype=torch.bool)
    for length in range(1, int(limits.max()) + 1):
        log_probabilities, state = step(words.flatten(), state)
        log_probabilities = log_probabilities.view(count, width, -1)
        vocabulary = log_probabilities.shape[-1]
        stays = torch.where(torch.arange(vocabulary, device=device) == END, 0.0, -torch.inf)
        grown = totals[..., None] + torch.where(ended[..., None], stays, log_probabilities)
        sizes = torch.where(ended, sizes, length)
        ranks = (grown / penalty(sizes, length_penalty)[..., None]).flatten(1)

        best = ranks.topk(width).indices
        parents, words = best // vocabulary, best % vocabulary
        totals = grown.flatten(1).gather(1, best)
        sizes = sizes.gather(1, parents)
        ended = ended.gather(1, parents) | (words == END) | (limits == length)[:, None]
        history = history.take_along_dim(parents[..., None], 1)
        history = torch.cat([history, words[..., None]], -1)
        rows = (torch.arange(count, device=device)[:, None] * width + parents).flatten()
        state = tuple(tensor[rows] for tensor in state)
        if ended.all():
            break
    scores, best = (totals / penalty(sizes, length_penalty)).max(1)
    sentences = history[torch.arange(count, device=device), best, 1:].tolist()
    return [
        (_before_end(sentence), score) for sentence, score in zip(sentences, scores.tolist(), strict=True)
    ]


def penalty(sizes: Tensor, length_penalty: float) -> Tensor:
    """Return the divisor of the scores of hypotheses of these sizes in words."""
    return ((5 + sizes) / 6) ** length_penalty


def _before_end(sentence: list[int]) -> list[int]:
    return sentence[: sentence.index(END)] if END in sentence else sentence
