"""Sentence pairs: a corpus of numbered sentences in either layout, and the real IWSLT'15."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evodevo.errors import UsageError
from tests.golden import assert_golden
from tests.workers.conftest import SHARED_DATA
from workers.data import translation
from workers.data.translation import (
    BEGIN,
    END,
    HOW,
    PADDING,
    SPECIAL,
    UNKNOWN,
    Corpus,
    lengths,
    load,
    make_vocabulary,
    pad,
    read_pairs,
)

ORIGINAL = SHARED_DATA / "iwslt15-en-vi"
real = pytest.mark.skipif(not ORIGINAL.is_dir(), reason=f"the files of IWSLT'15 are not in {ORIGINAL}")


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def numbered(first: int, count: int) -> tuple[list[str], list[str]]:
    """Sentences of 1 to 7 words that bear their number: `nguồn 12 a a` and `target 12 b b`."""
    numbers = range(first, first + count)
    return (
        [" ".join(["nguồn", str(number)] + ["a"] * (number % 6)) for number in numbers],
        [" ".join(["target", str(number)] + ["b"] * (number % 5)) for number in numbers],
    )


def write_pairs(directory: Path, name: str, first: int, count: int) -> None:
    for language, lines in zip(("vi", "en"), numbered(first, count), strict=True):
        write(directory / f"{name}.{language}", lines)


@pytest.fixture
def evbnews(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "evbnews", "evbnews", 0, 100)
    return tmp_path


@pytest.fixture
def iwslt15(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """60 pairs to train and 20 to test; the vocabularies lack the number 3 and those from 70 on."""
    monkeypatch.setattr(translation, "LINES", {"tst2012": 60, "tst2013": 20})
    monkeypatch.setattr(translation, "WORDS", {"vi": 74, "en": 74})
    write_pairs(tmp_path / "iwslt15", "tst2012", 0, 60)
    write_pairs(tmp_path / "iwslt15", "tst2013", 60, 20)
    for language, own in (("vi", ["nguồn", "a"]), ("en", ["target", "b"])):
        words = [*SPECIAL, *own, *(str(number) for number in range(70) if number != 3)]
        write(tmp_path / "iwslt15" / f"vocab.{language}", words)
    return tmp_path


FIRST_TRAINED = ["57", "49", "88", "80", "38", "37"]
"""Other numbers here would end the comparison of runs with earlier ones."""
SMALL: dict[str, Any] = {"validation_examples": 10, "test_examples": 15, "min_count": 1}


def numbers_of(sentences: Tensor, words: list[str]) -> list[str]:
    return [words[number] for number in sentences[:, 1]]


def sides(corpus: Corpus, split: str) -> tuple[list[str], list[str]]:
    """The numbers that the sentences of a split bear, Vietnamese and English."""
    source, target = getattr(corpus.splits, split)
    return numbers_of(source, corpus.source_words), numbers_of(target, corpus.target_words)


def refusal(root: Path | None, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load(str(root) if root else None, **options)
    return str(caught.value)


def test_every_source_keeps_its_translation(iwslt15: Path) -> None:
    corpus = load(str(iwslt15), **SMALL)
    for split in ("train", "validation", "test"):
        source, target = sides(corpus, split)
        assert source == target


def test_training_and_validation_part_tst2012_and_tst2013_is_the_test(iwslt15: Path) -> None:
    corpus = load(str(iwslt15), validation_examples=10)
    train, validation, test = (sides(corpus, split)[0] for split in ("train", "validation", "test"))
    known = {str(number) for number in range(60) if number != 3} | {"<unk>"}
    assert (len(train), len(validation), len(test)) == (50, 10, 20)
    assert {*train, *validation} == known
    assert not {*train} & {*validation}
    assert test == [str(number) for number in range(60, 70)] + ["<unk>"] * 10
    assert corpus.test[12] == (("nguồn", "72"), ("target", "72", "b", "b"))


def test_the_splits_of_evbnews_share_no_pair_and_have_the_sizes_asked_for(evbnews: Path) -> None:
    corpus = load(str(evbnews), "evbnews", **SMALL)
    source = [sentence for sentence, _ in corpus.test]
    found = [*sides(corpus, "train")[0], *[sentence[1] for sentence in source]]
    assert (len(found), len(set(found)), len(source)) == (90, 90, 15)
    assert len(corpus.splits.validation[0]) == 10
    assert len(load(str(evbnews), "evbnews", **SMALL, train_examples=7).splits.train[0]) == 7


def test_a_pair_that_evbnews_has_twice_is_in_one_split_only(evbnews: Path) -> None:
    once = load(str(evbnews), "evbnews", **SMALL)
    for language, lines in zip(("vi", "en"), numbered(0, 100), strict=True):
        write(evbnews / "evbnews" / f"evbnews.{language}", lines * 2)
    twice = load(str(evbnews), "evbnews", **SMALL)
    assert twice.test == once.test
    assert torch.equal(twice.splits.train[0], once.splits.train[0])


def test_the_splits_are_in_a_fixed_random_order(evbnews: Path) -> None:
    first, again = (load(str(evbnews), "evbnews", **SMALL) for _ in range(2))
    assert torch.equal(first.splits.train[0], again.splits.train[0])
    assert sides(first, "train")[0][:6] == FIRST_TRAINED


def test_which_pairs_are_validated_does_not_depend_on_what_is_trained_on(iwslt15: Path) -> None:
    all_of_it = load(str(iwslt15), **SMALL)
    less = load(str(iwslt15), **SMALL, train_examples=5, max_length=3)
    assert torch.equal(all_of_it.splits.validation[0], less.splits.validation[0])
    assert len(less.splits.train[0]) == 5


def test_pairs_longer_than_max_length_on_either_side_are_not_trained_on_and_others_stay_whole(
    iwslt15: Path,
) -> None:
    corpus = load(str(iwslt15), validation_examples=30, max_length=4)
    source, target = corpus.splits.train
    assert int(lengths(source).max()) == 4
    assert int(lengths(target).max()) == 4 + 1  # and </s>
    for split in (corpus.splits.validation, corpus.splits.test):
        assert split
        assert int(lengths(split[0]).max()) == 7
        assert int(lengths(split[1]).max()) == 6 + 1


def test_sentences_are_numbers_of_words_padded_on_the_right_and_targets_end_with_the_end_word(
    iwslt15: Path,
) -> None:
    corpus = load(str(iwslt15), **SMALL)
    assert corpus.splits.test
    source, target = corpus.splits.test
    assert (source.dtype, target.dtype) == (torch.int64, torch.int64)
    assert source[1].tolist() == [3, 4 + 61, 4, PADDING, PADDING, PADDING, PADDING]
    assert target[1].tolist() == [3, 4 + 61, 4, END, PADDING, PADDING, PADDING]
    assert target[14].tolist() == [3, UNKNOWN, 4, 4, 4, 4, END]
    assert tuple(map(SPECIAL.index, ("<unk>", "<s>", "</s>"))) == (UNKNOWN, BEGIN, END)


def test_the_vocabularies_of_evbnews_know_nothing_of_validation_and_test(evbnews: Path) -> None:
    corpus = load(str(evbnews), "evbnews", **SMALL)
    trained = set(sides(corpus, "train")[0])
    assert {word for word in corpus.source_words if word.isdigit()} == trained
    assert set(sides(corpus, "validation")[0]) == {"<unk>"}


def test_a_vocabulary_has_the_words_seen_often_enough_the_most_frequent_first() -> None:
    sentences = [("c", "b", "a"), ("b", "a", "</s>"), ("b", "d", "</s>")]
    assert make_vocabulary(sentences, 2) == ["<unk>", "<s>", "</s>", "b", "a"]
    assert make_vocabulary(sentences, 1) == ["<unk>", "<s>", "</s>", "b", "a", "c", "d"]


def test_the_files_may_be_in_the_root_itself_and_may_lack_the_last_newline(evbnews: Path) -> None:
    path = evbnews / "evbnews" / "evbnews.en"
    outside = load(str(evbnews), "evbnews", **SMALL)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    inside = load(str(evbnews / "evbnews"), "evbnews", **SMALL)
    assert torch.equal(outside.splits.train[1], inside.splits.train[1])


def test_only_newlines_part_sentences(tmp_path: Path) -> None:
    write(tmp_path / "evbnews.vi", ["một\u2028hai", "ba\x85"])
    write(tmp_path / "evbnews.en", ["one\x0ctwo", "three"])
    assert len(read_pairs(tmp_path, "evbnews", "evbnews")) == 2


def test_padding_fills_up_to_the_longest_and_lengths_do_not_count_it() -> None:
    padded = pad([[5], [6, 7, 2], []])
    assert padded.tolist() == [[5, -1, -1], [6, 7, 2], [-1, -1, -1]]
    assert lengths(padded).tolist() == [1, 3, 0]


NAMES = [f"{name}.{language}" for name in ("tst2012", "tst2013", "vocab") for language in ("vi", "en")]


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file_of_iwslt15_is_named_with_the_command_that_downloads_it(
    iwslt15: Path, missing: str
) -> None:
    (iwslt15 / "iwslt15" / missing).unlink()
    assert refusal(iwslt15, validation_examples=10) == (
        f"data.root: {iwslt15 / 'iwslt15'} has no {missing}; "
        "`python scripts/fetch_data.py iwslt15 --root DIR` downloads it"
    )


@pytest.mark.parametrize("missing", ["evbnews.vi", "evbnews.en"])
def test_a_missing_file_of_evbnews_is_named_with_the_layout_that_is_expected(
    evbnews: Path, missing: str
) -> None:
    (evbnews / "evbnews" / missing).unlink()
    assert refusal(evbnews, corpus="evbnews") == (
        f"data.root: {evbnews / 'evbnews'} has no {missing}; expected: evbnews.vi and evbnews.en, UTF-8, "
        "one tokenised sentence per line, line n of one file the translation of line n of the other"
    )


@pytest.mark.parametrize("corpus", HOW)
def test_without_a_root_it_says_how_the_corpus_is_had(corpus: str) -> None:
    message = refusal(None, corpus=corpus)
    assert message.startswith("data.root: ")
    assert_golden("data/translation/no-root", message, how=HOW[corpus], corpus=corpus)


def test_files_that_are_out_of_step_are_refused_with_both_numbers_of_lines(evbnews: Path) -> None:
    write(evbnews / "evbnews" / "evbnews.en", numbered(0, 99)[1])
    assert_golden("data/translation/out-of-step", refusal(evbnews, corpus="evbnews"), evbnews)


def test_a_file_cut_short_alike_in_both_languages_is_refused(iwslt15: Path) -> None:
    write_pairs(iwslt15 / "iwslt15", "tst2013", 60, 19)
    assert_golden("data/translation/cut-short", refusal(iwslt15, validation_examples=10), iwslt15)


@pytest.mark.parametrize("language", ["vi", "en"])
def test_an_empty_sentence_is_refused_by_its_line(evbnews: Path, language: str) -> None:
    lines = numbered(0, 100)[language == "en"]
    write(evbnews / "evbnews" / f"evbnews.{language}", [*lines[:41], " ", *lines[42:]])
    message = refusal(evbnews, corpus="evbnews")
    assert_golden("data/translation/empty-sentence", message, file=evbnews / f"evbnews/evbnews.{language}")


@pytest.mark.parametrize("name", ["tst2012.en", "vocab.vi"])
def test_a_file_that_is_not_utf_8_is_refused_by_name(iwslt15: Path, name: str) -> None:
    path = iwslt15 / "iwslt15" / name
    path.write_bytes(path.read_bytes()[:-2] + b"\xe1\xbb")
    assert refusal(iwslt15, validation_examples=10).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("without-unk", lambda words: words[1:]),
        ("cut-short", lambda words: words[:-1]),
        ("word-twice", lambda words: [*words[:-1], "b"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_vocabulary_is_refused(iwslt15: Path, name: str, change: Any) -> None:
    path = iwslt15 / "iwslt15" / "vocab.en"
    write(path, change(path.read_text(encoding="utf-8").splitlines()))
    message = refusal(iwslt15, validation_examples=10)
    assert message.startswith(f"{path}: ")
    assert_golden(f"data/translation/vocabulary/{name}", message, iwslt15)


@pytest.mark.parametrize(
    "name", ["train_examples", "validation_examples", "test_examples", "max_length", "min_count"]
)
def test_a_size_below_1_is_refused_by_its_option(evbnews: Path, name: str) -> None:
    message = refusal(evbnews, corpus="evbnews", **{name: 0})
    assert message.startswith(f"workload.options.{name}: ")
    assert_golden("data/translation/size-zero", message, option=name)


def test_a_corpus_that_is_not_known_is_refused_with_those_that_are() -> None:
    message = refusal(None, corpus="iwslt")
    assert message.startswith("workload.options.corpus: ")
    assert_golden("data/translation/unknown-corpus", message)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("validation", {"validation_examples": 85}),
        ("test", {"test_examples": 100}),
        ("length", {"max_length": 1}),
    ],
    ids=str,
)
def test_when_no_pair_is_left_to_train_on_it_says_what_took_them(
    evbnews: Path, name: str, options: dict[str, int]
) -> None:
    message = refusal(evbnews, corpus="evbnews", **{**SMALL, **options})
    assert message.startswith("workload.options: ")
    assert_golden(f"data/translation/nothing-left/{name}", message)


@real
def test_the_real_corpus_has_1553_and_1268_pairs_and_7709_and_17191_words() -> None:
    pairs = read_pairs(ORIGINAL, "tst2012", "iwslt15")
    assert pairs[0][1][:7] == ("How", "can", "I", "speak", "in", "10", "minutes")
    corpus = load(str(ORIGINAL), max_length=1000)
    train, validation, test = corpus.splits.train, corpus.splits.validation, corpus.splits.test
    assert test
    assert len(pairs) == len(train[0]) + len(validation[0]) == 1553
    assert len(test[0]) == len(corpus.test) == 1268
    assert (len(corpus.source_words), len(corpus.target_words)) == (7709, 17191)
    for _, target in (train, validation, test):
        known = target[target != PADDING]
        assert 0.005 < float((known == UNKNOWN).double().mean()) < 0.05
