"""The golden file of messages: what is compared, how a change is accepted, and that no text is unused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import golden
from tests.golden import assert_golden, machine_independent, raises_golden

Content = Callable[[], str]
TESTS = Path(__file__).parent


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Content:
    """Use another golden file, and return a function that reads it."""
    file = tmp_path / "messages.txt"
    file.write_text("a/one\n    first\nc/two\n    second\n\n      third\n")
    monkeypatch.setattr(golden, "FILE", file)
    monkeypatch.setattr(golden, "_seen", {})
    monkeypatch.delenv("GOLDEN", raising=False)
    return file.read_text


def test_no_text_is_unused() -> None:
    """With GOLDEN=write, unused ones are removed."""
    texts = golden.texts_by_key()
    sources = [path.read_text(encoding="utf-8") for path in sorted(TESTS.rglob("*.py"))]
    unused = golden.unused_keys(texts, sources)
    if unused and os.environ.get("GOLDEN") == "write":
        golden.remove(unused)
        unused = []
    assert unused == [], f"GOLDEN=write python -m pytest tests/{Path(__file__).name} removes them"


def test_the_file_is_as_it_would_be_written() -> None:
    """So that a merge that leaves it out of order, or a key twice, is seen."""
    content = golden.FILE.read_text(encoding="utf-8")
    assert content == golden.render(golden.parse(content))


def test_a_message_is_its_text_of_whatever_lines(content: Content) -> None:
    assert_golden("a/one", "first")
    assert_golden("c/two", "second\n\n  third")


def test_another_message_fails_with_both_texts_and_the_command_that_accepts_it(content: Content) -> None:
    before = content()
    with pytest.raises(pytest.fail.Exception) as failed:
        assert_golden("a/one", "new words")
    for part in ("new words", "first", "GOLDEN=write python -m pytest tests/test_golden.py"):
        assert part in str(failed.value)
    with pytest.raises(pytest.fail.Exception, match="a/none"):
        assert_golden("a/none", "first")
    assert content() == before


def test_accepting_writes_what_tests_saw_and_leaves_the_rest(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDEN", "write")
    assert_golden("a/one", "new\nwords")
    assert_golden("b/new", "third")
    with raises_golden("d/raised", ValueError) as raised:
        raise ValueError("fourth")
    assert str(raised.value) == "fourth"
    kept = "c/two\n    second\n\n      third\n"
    assert content() == f"a/one\n    new\n    words\nb/new\n    third\n{kept}d/raised\n    fourth\n"
    monkeypatch.delenv("GOLDEN")
    assert_golden("a/one", "new\nwords")
    golden.remove(["a/one", "b/new", "d/raised"])
    assert content() == kept


def test_conflicts_of_a_merge_are_resolved_by_accepting_and_removing_what_is_unused(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden.FILE.write_text(
        "a/one\n<<<<<<< ours\n    ours\n=======\n    theirs\n>>>>>>> theirs\nc/two\n    second\n"
    )
    monkeypatch.setenv("GOLDEN", "write")
    assert_golden("a/one", "both")
    golden.remove(golden.unused_keys(golden.texts_by_key(), ['("a/one", "c/two")']))
    assert content() == "a/one\n    both\nc/two\n    second\n"


def test_two_messages_of_one_key_are_refused(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDEN", "write")
    assert_golden("a/one", "new")
    with pytest.raises(pytest.fail.Exception, match="a/one"):
        assert_golden("a/one", "other")


def test_raises_golden_fails_if_nothing_is_raised_or_something_else(content: Content) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"), raises_golden("a/one", ValueError):
        pass
    with pytest.raises(KeyError), raises_golden("a/one", ValueError):
        raise KeyError("first")
    with pytest.raises(pytest.fail.Exception, match="second"), raises_golden("a/one", ValueError):
        raise ValueError("second")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("/t/x/y.yaml: no such file (from /t)", "<tmp>/y.yaml: no such file (from <home>)"),
        (
            "'runs' at tcp://10.0.0.1:41234 does not answer",
            "'<name>' at tcp://10.0.0.1:<port> does not answer",
        ),
        (f"in f, {golden.REPOSITORY}/workers/unit.py:39", "in f, <repository>/workers/unit.py:<line>"),
        ("<object at 0x7f01ab>\n", "<object at <hex>>"),
        ("digest 0f3a0f3a0f3a0f3a is not", "digest <hex> is not"),
        (
            "1000000000000000000 is above 12:00:00, g001s000",
            "1000000000000000000 is above 12:00:00, g001s000",
        ),
    ],
)
def test_what_differs_between_machines_is_replaced(message: str, expected: str) -> None:
    assert machine_independent(message, Path("/t/x"), home="/t", name="runs", nothing="") == expected


def test_a_key_is_used_if_it_is_written_out_or_derived_from_a_literal_of_the_same_file() -> None:
    sources = ['matches("a/one")', 'matches(f"b/{name}")\nNAMES = ["two"]', 'NAMES = ["three"]']
    assert golden.unused_keys(["a/one", "b/two", "b/three", "c/one"], sources) == ["b/three", "c/one"]
