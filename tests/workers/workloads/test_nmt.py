"""Translation between two toy languages, in which each word has one translation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from tests.golden import assert_golden
from workers.data.translation import PADDING, lengths, pad
from workers.hyperparameters import Hyperparameters
from workers.seq2seq import Seq2Seq
from workers.workload import Splits, Training
from workers.workloads.nmt import MAX_GRADIENT_NORM, NMT, POOL_BATCHES, bleu

HP = {"learning_rate": 0.5, "dropout": 0.2}
TINY: dict[str, Any] = {
    "corpus": "evbnews", "validation_examples": 20, "test_examples": 30, "min_count": 1,
    "layers": 1, "units": 12, "batch_size": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """200 pairs: 2 to 6 words of 12, and the same in capitals."""
    directory = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    sentences = [[f"w{word}" for word in rng.integers(12, size=rng.integers(2, 7))] for _ in range(200)]
    for language, change in (("vi", str.lower), ("en", str.upper)):
        text = "".join(change(" ".join(words)) + "\n" for words in sentences)
        Path(directory, f"evbnews.{language}").write_text(text)
    return str(directory)


def prepared(root: str, **options: Any) -> NMT:
    workload = NMT(**{**TINY, **options})
    workload.prepare(torch.device("cpu"), root)
    return workload


@pytest.fixture(scope="module")
def nmt(root: str) -> NMT:
    return prepared(root)


def epoch(workload: NMT, training: Training) -> list[float]:
    return [float(loss) for loss in workload.train(training)]


@pytest.fixture(scope="module")
def overfitted(root: str) -> tuple[NMT, Training, dict[str, float]]:
    """A model that knows 64 pairs by heart; they are all of its splits."""
    torch.set_num_threads(1)
    workload = prepared(root, units=48, train_examples=64, optimizer="adam", beam_width=4)
    train = workload.splits.train
    workload.splits = Splits(train, train, train)
    words = workload.corpus.source_words, workload.corpus.target_words
    workload.corpus.test[:] = [
        tuple(  # type: ignore[misc]
            tuple(names[number] for number in sentence.tolist() if number > 2)
            for names, sentence in zip(words, pair, strict=True)
        )
        for pair in zip(*train, strict=True)
    ]
    training = workload.begin({"learning_rate": 0.01, "dropout": 0.0}, 0, None)
    for _ in range(90):
        epoch(workload, training)
    return workload, training, workload.evaluate(training, "test")


Overfitted = tuple[NMT, Training, dict[str, float]]


def test_it_overfits_64_pairs(overfitted: Overfitted) -> None:
    _, _, found = overfitted
    assert found["test_loss"] < 0.05
    assert found["test_perplexity"] == pytest.approx(np.exp(found["test_loss"]))


def test_greedy_and_beam_search_give_back_the_references_it_was_overfitted_to(overfitted: Overfitted) -> None:
    workload, training, found = overfitted
    references = [" ".join(target) for _, target in workload.corpus.test]
    assert found["test_bleu"] == pytest.approx(100)
    assert workload.translate(training, range(64)) == references
    assert workload.translate(training, [5, 60, 2], width=4) == [references[number] for number in (5, 60, 2)]


def test_the_exhibit_shows_ten_sentences_with_their_reference_and_both_translations(
    overfitted: Overfitted,
) -> None:
    workload, training, _ = overfitted
    text = workload.exhibits(training)["translations.txt"].decode()
    blocks = text.split("\n\n")
    assert len(blocks) == 10
    for place, block in enumerate(blocks):
        lines = [line.strip().split(": ") for line in block.strip().split("\n")]
        source, reference = (" ".join(words) for words in workload.corpus.test[64 * place // 10])
        assert [name for name, _ in lines] == ["Vietnamese", "reference", "greedy", "beam of 4"]
        assert [words for _, words in lines] == [source, reference, reference, reference]


class Given(nn.Module):
    """The loss of a target word is a tenth of its number."""

    def forward(self, source: Tensor, target: Tensor, dropout: float) -> Tensor:
        return target[target != PADDING].float() / 10


def test_perplexity_is_of_all_words_of_the_split_alike_however_they_fall_into_batches(root: str) -> None:
    """Targets 1 2 3 | 4 5 6 7 | 9 | 0: 37 tenths over 9 words, in batches of 2."""
    found = []
    for batch_size in (2, 3):
        workload = prepared(root, batch_size=batch_size)
        target = pad([[1, 2, 3], [4, 5, 6, 7], [9], [0]])
        workload.splits = Splits((target, target), (target, target))
        training = workload.begin(HP, 0, None)
        training.model = Given()
        found.append(workload.evaluate(training, "validation"))
        assert workload.evaluate(training, "test") == {}
    assert found[0] == found[1]
    assert found[0]["validation_loss"] == pytest.approx(3.7 / 9)
    assert found[0]["validation_perplexity"] == pytest.approx(np.exp(3.7 / 9))


def test_a_model_that_holds_all_words_equally_likely_has_the_vocabularys_size_as_perplexity(nmt: NMT) -> None:
    training = nmt.begin(HP, 0, None)
    assert isinstance(training.model, Seq2Seq)
    nn.init.zeros_(training.model.requires_grad_(False).output.weight)
    found = nmt.evaluate(training, "validation")
    assert found["validation_perplexity"] == pytest.approx(len(nmt.corpus.target_words), rel=1e-5)
    batch = next(iter(nmt.evaluation_batches("validation")))
    assert float(nmt.metrics(training.model, batch)["perplexity"]) == pytest.approx(
        len(nmt.corpus.target_words), rel=1e-5
    )


def test_a_perplexity_too_large_for_a_number_is_infinite_and_no_exception(nmt: NMT) -> None:
    training = nmt.begin(HP, 0, None)

    class Far(nn.Module):
        def forward(self, source: Tensor, target: Tensor, dropout: float) -> Tensor:
            return torch.full((7,), 1e4)

    training.model = Far()
    assert nmt.evaluate(training, "validation")["validation_perplexity"] == float("inf")


def test_bleu_is_that_of_the_formula_worked_by_hand() -> None:
    """Matches of 1 to 4 words: 7 of 8, 4 of 6, 2 of 4, 1 of 3; 8 words where the references have 9."""
    translations = ["the cat sat on the mat", "it is"]
    references = ["the cat sat on a mat", "it is so"]
    precisions = [7 / 8, 4 / 6, 2 / 4, 1 / 3]
    expected = 100 * np.exp(1 - 9 / 8) * np.prod(precisions) ** (1 / 4)
    assert bleu(translations, references) == pytest.approx(expected)


def test_bleu_takes_words_as_spaces_part_them_and_sees_case() -> None:
    reference = "we came , we saw ."
    assert bleu([reference], [reference]) == pytest.approx(100)
    assert bleu(["we came, we saw."], [reference]) < 50
    assert bleu([reference.upper()], [reference]) < 50


def sentences(batches: list[tuple[Tensor, ...]]) -> list[tuple[int, ...]]:
    """The words of both sides of every pair, without padding."""
    return [
        tuple(number for side in pair for number in side.tolist() if number != PADDING)
        for batch in batches
        for pair in zip(*batch, strict=True)
    ]


def batches_of(workload: NMT, seed: int) -> list[tuple[Tensor, ...]]:
    return list(workload.train_batches(workload.begin(HP, seed, None)))


def numbered(count: int) -> tuple[Tensor, Tensor]:
    """Pairs of different lengths that bear their number as their first word."""
    return pad([[number] * (1 + number % 17) for number in range(count)]), pad([[n, 2] for n in range(count)])


@pytest.mark.parametrize(("count", "trained"), [(1000, 1000), (1003, 1000), (8, 8), (5, 5)])
def test_an_epoch_has_every_pair_at_most_once_in_whole_batches(root: str, count: int, trained: int) -> None:
    workload = prepared(root)
    workload.splits = Splits(numbered(count), numbered(count))
    batches = batches_of(workload, 0)
    found = [int(source[0]) for batch in batches for source in batch[0]]
    assert len(found) == len(set(found)) == trained
    assert {len(batch[0]) for batch in batches} == {min(count, 8)}
    for source, target in batches:
        assert torch.equal(source[:, 0], target[:, 0])
        assert source.shape[1] == int(lengths(source).max())


def test_a_batch_has_sentences_of_like_length(root: str) -> None:
    workload = prepared(root)
    workload.splits = Splits(numbered(8 * POOL_BATCHES * 3), numbered(8))
    spreads = [int(lengths(source).max() - lengths(source).min()) for source, _ in batches_of(workload, 0)]
    assert max(spreads) <= 3
    assert np.mean(spreads) < 1.5  # in a random order it would be some 13


def test_the_order_comes_from_the_training_seed_and_is_not_by_length(root: str) -> None:
    workload = prepared(root)
    workload.splits = Splits(numbered(8 * POOL_BATCHES), numbered(8))  # sorted as one
    first, again, other = (sentences(batches_of(workload, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)
    longest = [batch[0].shape[1] for batch in batches_of(workload, 1)]
    assert longest != sorted(longest)


def test_evaluation_has_every_pair_once(nmt: NMT) -> None:
    found = list(nmt.evaluation_batches("validation"))
    assert sorted(sentences(found)) == sorted(sentences([nmt.splits.validation]))
    assert len(found) == 3


def changes(training: Training, workload: NMT, batch: tuple[Tensor, ...]) -> Tensor:
    before = nn.utils.parameters_to_vector(training.model.parameters()).detach().clone()
    workload.step(training, batch)
    return before - nn.utils.parameters_to_vector(training.model.parameters()).detach()


def test_a_step_follows_the_loss_of_a_sentence_summed_over_its_words(nmt: NMT) -> None:
    batch = next(iter(nmt.evaluation_batches("validation")))
    training = nmt.begin({"learning_rate": 0.25}, 0, None)
    losses = training.model(*batch)
    gradients = torch.autograd.grad(losses.sum() / len(batch[0]), list(training.model.parameters()))
    expected = nn.utils.parameters_to_vector(gradients)
    assert float(expected.norm()) < MAX_GRADIENT_NORM
    torch.testing.assert_close(changes(training, nmt, batch), 0.25 * expected, rtol=1e-4, atol=1e-7)


def test_the_gradients_norm_is_limited_to_5(nmt: NMT) -> None:
    training = nmt.begin({"learning_rate": 1.0}, 0, None)
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.mul_(20)
    change = changes(training, nmt, next(iter(nmt.evaluation_batches("validation"))))
    assert float(change.norm()) == pytest.approx(5.0, rel=1e-3)


def test_the_loss_of_training_is_the_mean_of_a_word(nmt: NMT) -> None:
    batch = next(iter(nmt.evaluation_batches("validation")))
    training = nmt.begin({"learning_rate": 1.0}, 0, None)
    with torch.no_grad():
        expected = float(nmt.metrics(training.model, batch)["loss"])
    assert float(nmt.step(training, batch)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_from_a_checkpoint_training_goes_on_as_if_it_had_not_stopped(root: str, optimizer: str) -> None:
    workload = prepared(root, optimizer=optimizer, layers=2)
    hp = {"learning_rate": 0.01, "dropout": 0.3}
    training = workload.begin(hp, 1, None)
    epoch(workload, training)
    stopped = workload.checkpoint(training)
    resumed = workload.begin(hp, 2, stopped)
    epoch(workload, resumed)
    training.generator = workload.begin(hp, 2, None).generator  # which also seeds the global ones
    epoch(workload, training)
    assert workload.checkpoint(resumed) == workload.checkpoint(training) != stopped


def test_dropout_and_learning_rate_are_read_and_dropout_need_not_be_given(nmt: NMT) -> None:
    names = ["validation_loss", "validation_perplexity"]
    restarts = {"restart_epochs", "restart_steps"}
    assert nmt.rehearse(HP) == (names, {"learning_rate", "dropout", "anneal", *restarts})
    first = {
        str(rate): epoch(nmt, nmt.begin({"learning_rate": 0.5, **rate}, 3, None))[0]
        for rate in ({}, {"dropout": 0.0}, {"dropout": 0.6})
    }
    assert first["{}"] == first["{'dropout': 0.0}"] != first["{'dropout': 0.6}"]


def test_dropout_changes_neither_evaluation_nor_what_a_checkpoint_fits(nmt: NMT) -> None:
    parent = nmt.checkpoint(nmt.begin({"learning_rate": 0.5, "dropout": 0.7}, 0, None))
    found = [
        nmt.evaluate(nmt.begin({"learning_rate": 0.5, "dropout": rate}, 1, parent), "test")
        for rate in (0.0, 0.7)
    ]
    assert found[0] == found[1]
    assert set(found[0]) == {"test_loss", "test_perplexity", "test_bleu"}


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_its_learning_rate_reaches_the_optimizer(
    nmt: NMT, root: str, name: str, kind: type[torch.optim.Optimizer]
) -> None:
    workload = prepared(root, optimizer=name)
    optimizer = workload.optimizer(workload.model(), Hyperparameters({"learning_rate": 0.3}))
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == 0.3


def test_no_translation_is_longer_than_twice_its_source(nmt: NMT) -> None:
    training = nmt.begin(HP, 0, None)  # untrained: it ends by chance only
    for width in (None, 3):
        found = nmt.translate(training, range(30), width)
        sizes = [
            (len(translation.split()), len(source))
            for translation, (source, _) in zip(found, nmt.corpus.test, strict=True)
        ]
        assert all(size <= 2 * limit for size, limit in sizes)
        assert any(size == 2 * limit for size, limit in sizes)


def test_bfloat16_gives_nearly_the_losses_of_float32(root: str) -> None:
    losses = []
    for precision in ("float32", "bfloat16", None):
        workload = prepared(root, precision=precision)
        training = workload.begin(HP, 0, None)
        epoch(workload, training)
        losses.append(workload.evaluate(training, "validation")["validation_loss"])
        assert len(workload.translate(training, range(30), width=2)) == 30
    assert losses[0] == losses[2]  # on a CPU
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]


@pytest.mark.parametrize("name", ["layers", "units", "beam_width"])
def test_a_size_below_1_is_refused_by_its_option(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        NMT(**{name: 0})  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"workload.options.{name}: ")
    assert_golden("nmt/size-zero", str(caught.value), option=name)


def test_its_facts_have_the_vocabularies_sizes(nmt: NMT) -> None:
    assert nmt.facts()[-1] == "vocabularies of 15 and 15 words"
