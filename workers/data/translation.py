"""Parallel Vietnamese and English sentences: IWSLT'15 (talks) and EVBNews (news).

Both are already tokenised: one sentence per line, words separated by spaces, and line n of one file is the
translation of line n of the other.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evodevo.errors import UsageError
from workers.workload import Batch, Splits

UNKNOWN, BEGIN, END = 0, 1, 2
SPECIAL = ["<unk>", "<s>", "</s>"]
"""The first words of every vocabulary."""
PADDING = -1
"""Fills a sentence up to the length of the longest one; it is not a word of the vocabulary."""
SPLIT_SEED = 2015
LINES = {"tst2012": 1553, "tst2013": 1268}
WORDS = {"vi": 7709, "en": 17191}
"""Sizes of IWSLT'15's vocabularies."""
EVBNEWS_TEST = 1000
HOW = {
    "iwslt15": "`python scripts/fetch_data.py iwslt15 --root DIR` downloads it",
    "evbnews": "expected: evbnews.vi and evbnews.en, UTF-8, one tokenised sentence per line, "
    "line n of one file the translation of line n of the other",
}

Sentence = tuple[str, ...]
Pair = tuple[Sentence, Sentence]


@dataclass(frozen=True)
class Corpus:
    """Sentences as numbers for the model, and the words that the numbers represent.

    Each split is a Vietnamese source, int64 (n, S), and an English target, int64 (n, T), whose sentences end
    with `END`; both are padded with `PADDING`. Words that a vocabulary lacks are `UNKNOWN`.
    """

    splits: Splits
    source_words: list[str]
    target_words: list[str]
    test: list[Pair]
    """The test split in its original words, including unknown ones, as references for BLEU."""


def load(
    root: str | None,
    corpus: str = "iwslt15",
    train_examples: int | None = None,
    validation_examples: int = 200,
    test_examples: int | None = None,
    max_length: int = 50,
    min_count: int = 2,
) -> Corpus:
    """Read a corpus from `root`, the directory of that name or its parent.

    iwslt15: tst2012 is for training, tst2013 is the test split, the vocabularies are those of the files.
    evbnews: the last `test_examples` pairs (None: 1,000) in a fixed random order are the test split, and the
    vocabularies are the words that occur `min_count` times or more in the training split.

    Of the other pairs in a fixed random order, the first `validation_examples` are the validation split. Of
    the rest, pairs of more than `max_length` words on either side are left out, and the first
    `train_examples` (None: all) are for training. Validation and test pairs may have any length. Duplicate
    pairs of EVBNews (1,615 lines) are used once, so that none is in two splits.
    Raises `UsageError` if files are missing, damaged or out of step, or for impossible sizes.
    """
    for name, value in (("validation_examples", validation_examples), ("max_length", max_length),
                        ("min_count", min_count), ("train_examples", train_examples),
                        ("test_examples", test_examples)):  # fmt: skip
        if value is not None and value < 1:
            raise UsageError(f"workload.options.{name}: should be 1 or more, not {value}")
    if corpus not in HOW:
        raise UsageError(f"workload.options.corpus: should be one of {', '.join(HOW)}, not {corpus!r}")
    if root is None:
        raise UsageError(f"data.root: is missing, and the corpus {corpus} needs a directory; {HOW[corpus]}")
    base = Path(root, corpus) if Path(root, corpus).is_dir() else Path(root)

    if corpus == "iwslt15":
        pairs, test = (read_pairs(base, name, corpus, LINES[name]) for name in ("tst2012", "tst2013"))
        test = test[:test_examples]
    else:
        pairs, test = list(dict.fromkeys(read_pairs(base, "evbnews", corpus))), []
    order = np.random.default_rng(SPLIT_SEED).permutation(len(pairs))
    shuffled = [pairs[place] for place in order]
    if corpus == "evbnews":
        wanted = test_examples or EVBNEWS_TEST
        shuffled, test = shuffled[:-wanted], shuffled[-wanted:]
    validation = shuffled[:validation_examples]
    rest = [pair for pair in shuffled[validation_examples:] if max(map(len, pair)) <= max_length]
    if not rest:
        raise UsageError(
            f"workload.options: none of the {len(pairs):,} pairs of {corpus} with at most "
            f"{max_length} words (max_length) is left to train on, after {len(test):,} to test and "
            f"{validation_examples:,} to validate"
        )
    train = rest[:train_examples]

    if corpus == "iwslt15":
        source_words, target_words = (read_vocabulary(base, language) for language in ("vi", "en"))
    else:
        source_words, target_words = (
            make_vocabulary((pair[side] for pair in train), min_count) for side in (0, 1)
        )
    splits = Splits(*(to_tensors(part, source_words, target_words) for part in (train, validation, test)))
    return Corpus(splits, source_words, target_words, test)


def read_pairs(base: Path, name: str, corpus: str, lines: int | None = None) -> list[Pair]:
    """Return the sentences of `name.vi` and `name.en` as words; check that there are `lines` if given."""
    paths = base / f"{name}.vi", base / f"{name}.en"
    source, target = ([tuple(line.split()) for line in read_lines(path, corpus)] for path in paths)
    if len(source) != len(target):
        raise UsageError(
            f"{paths[0]} has {len(source):,} lines and {paths[1].name} has {len(target):,}: they are "
            f"out of step; {HOW[corpus]}"
        )
    if lines is not None and len(source) != lines:
        raise UsageError(f"{paths[0]}: has {len(source):,} lines instead of {lines:,}; {HOW[corpus]}")
    for path, sentences in zip(paths, (source, target), strict=True):
        if () in sentences:
            raise UsageError(f"{path}: line {sentences.index(()) + 1:,} is empty; {HOW[corpus]}")
    return list(zip(source, target, strict=True))


def read_vocabulary(base: Path, language: str) -> list[str]:
    """Return the words of IWSLT'15's `vocab.<language>`, in its order."""
    path = base / f"vocab.{language}"
    words = read_lines(path, "iwslt15")
    if words[:3] != SPECIAL:
        raise UsageError(f"{path}: begins with {words[:3]} instead of {SPECIAL}; {HOW['iwslt15']}")
    if len(set(words)) != WORDS[language] or len(words) != WORDS[language]:
        raise UsageError(
            f"{path}: has {len(words):,} lines and {len(set(words)):,} different words instead of "
            f"{WORDS[language]:,}; {HOW['iwslt15']}"
        )
    return words


def make_vocabulary(sentences: Iterable[Sentence], min_count: int) -> list[str]:
    """Return the special words, then those that occur `min_count` times or more, most frequent first."""
    counts = Counter(word for sentence in sentences for word in sentence if word not in SPECIAL)
    known = [word for word, count in counts.items() if count >= min_count]
    return SPECIAL + sorted(known, key=lambda word: (-counts[word], word))


def to_tensors(pairs: list[Pair], source_words: list[str], target_words: list[str]) -> Batch:
    """Return source (n, S) and target (n, T), int64; see `Corpus`."""
    source_numbers, target_numbers = (
        {word: number for number, word in enumerate(words)} for words in (source_words, target_words)
    )
    return (
        pad([[source_numbers.get(word, UNKNOWN) for word in source] for source, _ in pairs]),
        pad([[target_numbers.get(word, UNKNOWN) for word in target] + [END] for _, target in pairs]),
    )


def pad(sentences: list[list[int]]) -> Tensor:
    """Return sentences as int64 (n, longest), padded with `PADDING` on the right."""
    padded = torch.full((len(sentences), max(map(len, sentences), default=0)), PADDING)
    for row, sentence in zip(padded, sentences, strict=True):
        row[: len(sentence)] = torch.tensor(sentence)
    return padded


def lengths(sentences: Tensor) -> Tensor:
    """Return the number of words of each sentence of (n, longest) without padding: int64 (n,)."""
    return (sentences != PADDING).sum(1)


def read_lines(path: Path, corpus: str) -> list[str]:
    """Return a file's lines, split at newlines only, unlike `str.splitlines`."""
    try:
        return path.read_bytes().decode().removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise UsageError(f"data.root: {path.parent} has no {path.name}; {HOW[corpus]}") from None
    except UnicodeDecodeError as why:
        raise UsageError(f"{path}: is not UTF-8 text: {why}; {HOW[corpus]}") from None
