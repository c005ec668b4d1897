"""The next character of a talk: positions of IWSLT'15's texts, English or Vietnamese."""

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from evodevo.errors import UsageError
from workers.data import translation
from workers.workload import Batch, Splits

UNKNOWN = 0
"""The number of all characters that the training text lacks; the others begin at 1."""
VALIDATION_SHARE = 0.25
"""Of the lines of tst2012: its last ones."""
SPLIT_SEED = 2015
LANGUAGES = ("en", "vi")


@dataclass(frozen=True)
class Characters:
    """Each split is contexts, int64 (n, context), and the characters that follow them, int64 (n,)."""

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
    """Read the texts from `root`, the directory iwslt15 or the one that holds it.

    The last quarter of tst2012's lines is the validation text, the lines before it are the training text, and
    tst2013 is the test text. Examples are positions of a text that have `context` characters before them:
    the first `*_examples` (None: all) in a fixed random order.
    Raises `UsageError` where files are missing or damaged, or a text has fewer positions.
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
        raise UsageError(f"data.root: names no directory, and the characters need iwslt15; {how}")
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
    """Raises `UsageError` for a file that is not the published one by its number of lines."""
    lines = translation.read_lines(path, "iwslt15")
    if len(lines) != translation.LINES[path.stem]:
        raise UsageError(
            f"{path}: has {len(lines):,} lines instead of {translation.LINES[path.stem]:,}; "
            f"{translation.HOW['iwslt15']}"
        )
    return lines


def text_of(lines: list[str]) -> str:
    """Lines as one text, with characters where the files have names for them (`&apos;`)."""
    return html.unescape("\n".join(lines))


def encoded(text: str, known: str) -> torch.Tensor:
    """The number of each character: int64 (length,)."""
    numbers = {character: number for number, character in enumerate(known, 1)}
    return torch.tensor([numbers.get(character, UNKNOWN) for character in text])


def examples(text: torch.Tensor, context: int, count: int | None) -> Batch:
    """The first `count` positions of a text in a fixed random order: see `Characters`."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(text) - context)[:count]
    starts = torch.from_numpy(order)
    windows = text.unfold(0, context + 1, 1)[starts]
    return windows[:, :-1].contiguous(), windows[:, -1].contiguous()
