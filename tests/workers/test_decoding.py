"""Greedy and beam search with toy models: tables of what follows what."""

import itertools

import pytest
import torch
from torch import Tensor

from workers.data.translation import BEGIN, END
from workers.decoding import State, beam, greedy, penalty

A, B = 3, 4
NEVER = 1e-9


def tables(*rows: dict[int, list[float]]) -> Tensor:
    """Log-probabilities (tables, words, words, words) that depend on the last word only: of END, A and B."""
    found = torch.full((len(rows), 5, 5, 5), NEVER)
    for table, after in zip(found, rows, strict=True):
        for word, chances in after.items():
            table[:, word, [END, A, B]] = torch.tensor(chances)
    return found.log()


def step(words: Tensor, state: State) -> tuple[Tensor, State]:
    """The state is each sentence's table, and the word before the last."""
    table, before = state
    return table[torch.arange(len(words)), before, words], (table, words)


def start(table: Tensor) -> State:
    return table, torch.full((len(table),), BEGIN)


def score(table: Tensor, sentence: list[int], limit: int, length_penalty: float) -> float:
    """Of a sentence as the model has it: the sum over its words and END, unless it is at the limit."""
    words = sentence + [END] * (len(sentence) < limit)
    total, state = 0.0, start(table[None])
    for before, word in itertools.pairwise([BEGIN, *words]):
        chances, state = step(torch.tensor([before]), state)
        total += float(chances[0, word])
    return total / float(((5 + len(words)) / 6) ** length_penalty)


TEMPTING = {BEGIN: [0.02, 0.58, 0.4], A: [0.3, 0.35, 0.35], B: [0.94, 0.03, 0.03]}
"""A is likelier at first, but no continuation of it is as likely as `B`."""


def limits(*values: int) -> Tensor:
    return torch.tensor(values)


def test_greedy_takes_the_likeliest_word_each_time_until_the_end_word() -> None:
    walk = {BEGIN: [0.1, 0.7, 0.2], A: [0.2, 0.1, 0.7], B: [0.7, 0.2, 0.1]}
    toy = tables(walk, {BEGIN: [0.9, 0.1, 0.0]})
    assert greedy(step, start(toy), limits(9, 9)) == [[A, B], []]


def test_a_sentence_ends_at_its_own_limit() -> None:
    endless = tables(*[{BEGIN: [0.0, 1.0, 0.0], A: [0.0, 1.0, 0.0]}] * 3)
    expected = [[A] * 2, [A] * 5, [A]]
    assert greedy(step, start(endless), limits(2, 5, 1)) == expected
    for width in (1, 3):
        found = beam(step, start(endless), limits(2, 5, 1), width, 1.0)
        assert [sentence for sentence, _ in found] == expected


def test_a_beam_finds_a_better_sentence_than_greedy_search() -> None:
    toy = tables(TEMPTING)
    (found,) = greedy(step, start(toy), limits(4))
    ((better, value),) = beam(step, start(toy), limits(4), 3, 0.0)
    assert better == [B]
    assert value == pytest.approx(score(toy[0], [B], 4, 0.0), rel=1e-5)
    assert value > score(toy[0], found, 4, 0.0) + 0.5


def random_tables(count: int) -> Tensor:
    torch.manual_seed(0)
    found = torch.full((count, 5, 5, 5), NEVER)
    found[..., [END, A, B]] = (3 * torch.rand(count, 5, 5, 3)).softmax(-1)
    return found.log()


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_of_width_1_is_greedy_search(length_penalty: float) -> None:
    toy = random_tables(50)
    bounds = torch.arange(50) % 6 + 1
    found = beam(step, start(toy), bounds, 1, length_penalty)
    assert [sentence for sentence, _ in found] == greedy(step, start(toy), bounds)
    assert len({len(sentence) for sentence, _ in found}) > 3


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0])
def test_a_beam_wide_enough_for_all_sentences_finds_the_best_of_them(length_penalty: float) -> None:
    toy = random_tables(30)
    found = beam(step, start(toy), torch.full((30,), 4), 64, length_penalty)
    sentences = [list(words) for length in range(5) for words in itertools.product([A, B], repeat=length)]
    for table, (sentence, value) in zip(toy, found, strict=True):
        scores = [score(table, candidate, 4, length_penalty) for candidate in sentences]
        assert value == pytest.approx(max(scores), rel=1e-4)
        assert sentence == sentences[scores.index(max(scores))]


@pytest.mark.parametrize("width", [2, 3, 5])
def test_the_score_is_that_of_the_sentence_found(width: int) -> None:
    toy = random_tables(100)
    for table, (sentence, value) in zip(
        toy, beam(step, start(toy), torch.full((100,), 6), width, 1.0), strict=True
    ):
        assert value == pytest.approx(score(table, sentence, 6, 1.0), rel=1e-4)


def test_the_sentences_of_a_batch_do_not_touch_each_other() -> None:
    toy = random_tables(20)
    bounds = torch.arange(20) % 5 + 1
    together = beam(step, start(toy), bounds, 3, 1.0)
    for number in range(20):
        one = slice(number, number + 1)
        ((sentence, value),) = beam(step, start(toy[one]), bounds[one], 3, 1.0)
        assert sentence == together[number][0]
        assert value == pytest.approx(together[number][1], rel=1e-5)
    assert greedy(step, start(toy), bounds) == [
        sentence
        for number in range(20)
        for sentence in greedy(step, start(toy[number : number + 1]), bounds[number : number + 1])
    ]


def test_the_length_penalty_is_that_of_gnmt() -> None:
    sizes = torch.tensor([1, 7, 13])
    assert penalty(sizes, 1.0).tolist() == pytest.approx([1.0, 2.0, 3.0])
    assert penalty(sizes, 0.5).tolist() == pytest.approx([1.0, 2**0.5, 3**0.5])
    assert penalty(sizes, 0.0).tolist() == [1.0, 1.0, 1.0]


def test_a_longer_sentence_wins_where_length_is_not_held_against_it() -> None:
    toy = tables({BEGIN: [0.3, 0.7, 0.0], A: [0.3, 0.7, 0.0]})
    ((short, _),), ((long, _),) = (beam(step, start(toy), limits(4), 4, value) for value in (0.0, 2.0))
    assert len(long) > len(short)
