"""Examples for predicting the next character of a talk, from IWSLT'15's English or Vietnamese texts."""

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from evodevo.errors import UsageError
from workers.data import translation
from workers.workload import Batch, Splits

UNKNOWN = 0
"""The number of every character that is not in the training text; the others are numbered from 1."""
VALIDATION_SHARE = 0.25
"""Fraction of the lines of tst2012, its last ones, used as validation text."""
SPLIT_SEED = 2015
LANGUAGES = ("en", "vi")


@dataclass(frozen=True)
class Characters:
    """Splits of contexts, int64 (n, context), and the characters that follow them, int64 (n,)."""

    splits: Splits
    known: str
    """The characters with the numbers 1, 2, ..."""


def load(
    root: str | None,
    language: str = "en",
    train_examples: int | None = None,
    validation_examples: int | None = None,
    test_examples: int | None = None,
    context: int = 16,
) -> Characters:
    """Read the texts from `root`, the directory iwslt15 or its parent.

    The last quarter of tst2012's lines is the validation text, the lines before it are the training text, and
    tst2013 is the test text. Examples are positions of a text after `context` characters or more: the first
    `*_examples` (None: all) in a fixed random order.
    Raises `UsageError` if files are missing or damaged, or a text has too few positions.
    """
    wanted = {"train": train_examples, "validation": validation_examples, "test": test_examples}
    for name, value in (*((f"{split}_examples", n) for split, n in wanted.items()), ("context", context)):
        if value is not None and value < 1:
            raise UsageError(f"workload.options.{name}: should be 1 or more, not {value}")
    if language not in LANGUAGES:
        raise UsageError(
            f"workload.options.language: should be one of {', '.join(LANGUAGES)}, not {language!r}"
        )
    how = translation.HOW["iwslt15"]
    if root is None:
        raise UsageError(f"data.root: is missing, and the characters need iwslt15; {how}")
    base = Path(root, "iwslt15") if Path(root, "iwslt15").is_dir() else Path(root)

    lines = read_lines(base / f"tst2012.{language}")
    kept = len(lines) - round(VALIDATION_SHARE * len(lines))
    texts = {
        "train": text_of(lines[:kept]),
        "validation": text_of(lines[kept:]),
        "test": text_of(read_lines(base / f"tst2013.{language}")),
    }
    known = "".join(sorted(set(texts["train"])))
    parts = {}
    for split, text in texts.items():
        positions = len(text) - context
        count = positions if wanted[split] is None else wanted[split]
        if not 0 < (count or 0) <= positions:
            raise UsageError(
                f"workload.options.{split}_examples: should be at most {max(positions, 0):,}, the positions "
                f"of the {split} text after {context:,} characters, not {count:,}"
            )
        parts[split] = examples(encoded(text, known), context, count)
    return Characters(Splits(**parts), known)


def read_lines(path: Path) -> list[str]:
    """Return a file's lines; raise `UsageError` unless it has as many as the published one."""
    lines = translation.read_lines(path, "iwslt15")
    if len(lines) != translation.LINES[path.stem]:
        raise UsageError(
            f"{path}: has {len(lines):,} lines instead of {translation.LINES[path.stem]:,}; "
            f"{translation.HOW['iwslt15']}"
        )
    return lines


def text_of(lines: list[str]) -> str:
    """Return lines as one text, with HTML entities (`&apos;`) replaced by characters."""
    return html.unescape("\n".join(lines))


def encoded(text: str, known: str) -> torch.Tensor:
    """Return the number of each character: int64 (length,)."""
    numbers = {character: number for number, character in enumerate(known, 1)}
    return torch.tensor([numbers.get(character, UNKNOWN) for character in text])


def examples(text: torch.Tensor, context: int, count: int | None) -> Batch:
    """Return the examples at the first `count` positions of a text in a fixed random order."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(text) - context)[:count]
    starts = torch.from_numpy(order)
    windows = text.unfold(0, context + 1, 1)[starts]
    return windows[:, :-1].contiguous(), windows[:, -1].contiguous()
