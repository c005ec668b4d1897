"""The next character: texts of numbered lines in the layout of IWSLT'15, and the real ones."""

from pathlib import Path
from typing import Any

import pytest
import torch

from evodevo.errors import UsageError
from tests.golden import assert_golden
from tests.workers.conftest import SHARED_DATA
from workers.data import translation
from workers.data.characters import UNKNOWN, Characters, load
from workers.workload import Batch

ORIGINAL = SHARED_DATA / "iwslt15-en-vi"
real = pytest.mark.skipif(not ORIGINAL.is_dir(), reason=f"the files of IWSLT'15 are not in {ORIGINAL}")
TRAINING = "".join("abcdefgh"[line % 8] * 5 + "\n" for line in range(30)).removesuffix("\n")
VALIDATION = "vvvaa\n" * 9 + "vvvaa"
TEST = "it &apos;s a\nt&amp;t"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 lines, the last 10 of which differ from the others, and 2 to test; English only."""
    monkeypatch.setattr(translation, "LINES", {"tst2012": 40, "tst2013": 2})
    write(tmp_path / "iwslt15" / "tst2012.en", f"{TRAINING}\n{VALIDATION}\n")
    write(tmp_path / "iwslt15" / "tst2013.en", f"{TEST}\n")
    return tmp_path


def refusal(root: Path | None, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load(root and str(root), **{"context": 4, **options})
    return str(caught.value)


def texts(found: Characters, split: Batch) -> list[str]:
    """Contexts and what follows them as text; `?` is the unknown character."""
    names = "?" + found.known
    rows = torch.cat([split[0], split[1][:, None]], 1).tolist()
    return ["".join(names[number] for number in row) for row in rows]


def windows(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(len(text) - size + 1)]


def unknown(text: str) -> str:
    return "".join(character if character in TRAINING else "?" for character in text)


def test_the_last_quarter_of_the_lines_is_the_validation_text_and_no_window_spans_two_texts(
    root: Path,
) -> None:
    found = load(str(root), context=4)
    expected = {"train": TRAINING, "validation": VALIDATION, "test": "it 's a\nt&t"}
    for split, text in expected.items():
        assert sorted(texts(found, getattr(found.splits, split))) == sorted(windows(unknown(text), 5))


def test_characters_that_the_training_text_lacks_are_unknown(root: Path) -> None:
    found = load(str(root), context=4)
    assert found.known == "\nabcdefgh"
    assert int(found.splits.train[1].min()) > UNKNOWN
    assert (found.splits.validation[0] == UNKNOWN).any()


def test_examples_are_the_first_of_a_fixed_random_order(root: Path) -> None:
    every, few = load(str(root), context=4).splits.train, load(str(root), context=4, train_examples=7)
    assert torch.equal(few.splits.train[0], every[0][:7])
    assert torch.equal(few.splits.train[1], every[1][:7])
    assert texts(few, few.splits.train) != windows(TRAINING, 5)[:7]


def test_the_directory_itself_or_the_one_that_holds_it_is_the_root(root: Path) -> None:
    outside, inside = (load(str(path), context=4) for path in (root, root / "iwslt15"))
    assert torch.equal(outside.splits.train[0], inside.splits.train[0])


@pytest.mark.parametrize("name", ["train_examples", "validation_examples", "test_examples", "context"])
def test_a_size_below_1_is_refused_by_its_option(root: Path, name: str) -> None:
    assert refusal(root, **{name: 0}) == f"workload.options.{name}: should be 1 or more, not 0"


def test_more_examples_than_positions_are_refused_with_their_number(root: Path) -> None:
    message = refusal(root, validation_examples=56)
    assert message.startswith("workload.options.validation_examples: ")
    assert_golden("data/characters/too-many-examples", message)


def test_a_context_as_long_as_a_text_is_refused(root: Path) -> None:
    assert_golden("data/characters/context-too-long", refusal(root, context=11))


def test_a_language_that_is_not_there_is_refused_with_those_that_are() -> None:
    message = refusal(None, language="de")
    assert message.startswith("workload.options.language: ")
    assert_golden("data/characters/language", message)


def test_without_a_root_it_says_how_the_texts_are_had() -> None:
    message = refusal(None)
    assert message.startswith("data.root: ")
    assert translation.HOW["iwslt15"] in message
    assert_golden("data/characters/no-root", message)


def test_a_missing_text_is_named_with_the_command_that_downloads_it(root: Path) -> None:
    assert_golden("data/characters/no-file", refusal(root, language="vi"), root)


def test_a_text_cut_short_is_refused_with_its_number_of_lines(root: Path) -> None:
    write(root / "iwslt15" / "tst2013.en", "a\n")
    assert_golden("data/characters/cut-short", refusal(root), root)


@real
@pytest.mark.parametrize(("language", "known"), [("en", 73), ("vi", 153)])
def test_the_real_texts_are_read_whole(language: str, known: int) -> None:
    found = load(str(ORIGINAL), language)
    assert len(found.known) == known
    train, validation, test = found.splits.train, found.splits.validation, found.splits.test
    assert len(train[1]) > 2 * len(validation[1]) > 40_000
    assert float((torch.cat([validation[1], test[1]]) == UNKNOWN).double().mean()) < 0.001
