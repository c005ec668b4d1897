"""Phrases that comments, docstrings, messages and pages must not contain."""

import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UNIT = "run|row|member|line|step|worker|generation|epoch|slot|seed|file|key|task"
PHRASES: Mapping[str, str] = {
    "is no": r"(?<!there\s)\b(is|are|was|were) no (?!longer|more|less|better|worse|later|different)\w",
    "is none": r"(?<!there)\b (is|are|was|were) (?-i:none)\b",
    "what is no": r"\bwhat (is|are|was) (no|none)\b",
    "one's own": r"\bone's own\b",
    "of its own": r"\bof (its|their|our|his) own\b",
    "a run a row": rf"\b(a|an|one|each) ({UNIT}) an? ({UNIT}|second|minute|day|time)\b",
    "is had": r"\b(is|are|be|was|were) had\b",
    "heed": r"\bheed(s|ed|ing)?\b",
    "carry on": r"\bcarr(y|ies|ied|ying)( it| them| this| that| the run| a run| runs)? on\b",
    "goes on": r"\b(go|goes|going|went) on\b",
    "so many": r"\bso many\b",
    "whom": r"\bwhom\b",
    "give back": r"\b(give|gives|given|giving|gave)( it| them)? back\b",
    "whoever": r"\bwhoever\b",
}
"""Each phrase's name and regular expression, in which a space also matches a line break."""
AREAS: Mapping[str, tuple[str, ...]] = {
    "docs": ("*.md", "docs/**/*.md"),
    "configs": ("configs/**/*.yaml",),
    "evodevo": ("evodevo/**/*.py",),
    "examples": ("examples/*.py", "examples/*.yaml", "examples/*.ipynb"),
    "scripts": ("scripts/**/*.py", "scripts/**/*.sh", "scripts/**/*.sbatch", "scripts/**/*.yaml"),
    "tests": ("tests/**/*.py",),
    "workers": ("workers/**/*.py",),
}
EXCEPTIONS: tuple[tuple[str, str], ...] = (
    ("evodevo/evolution/strategies/base.py", "`search.inherit` is none"),  # the value of a key
    ("evodevo/evolution/strategies/demes.py", "that of their own deme"),  # the phrase is across two words
    ("evodevo/yaml_text.py", "instead of its own"),
    ("evodevo/run/records.py", "the seconds of its own turns"),
)
"""Pairs of a file and a text in it that may contain any phrase, each with a comment that says why."""
STRINGS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
NOT_BREAK = re.compile(r"[^\n]")
BREAK = r"""(?:[\s#"']|f")+"""


def prose_of(path: Path) -> str:
    """Return a file's text; of Python only comments and strings, at their positions."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    kept, last = [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in STRINGS:
            begin, end = (starts[line - 1] + column for line, column in (token.start, token.end))
            kept += [NOT_BREAK.sub(" ", text[last:begin]), text[begin:end]]
            last = end
    return "".join([*kept, NOT_BREAK.sub(" ", text[last:])])


def found_in(text: str, phrase: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the surroundings of each occurrence of a phrase."""
    pattern = PHRASES[phrase].replace(" ", BREAK)
    for match in re.finditer(pattern, text, re.IGNORECASE):
        around = text[max(0, match.start() - 30) : match.end() + 30]
        yield text.count("\n", 0, match.start()) + 1, " ".join(around.split())


def is_exception(path: Path, around: str) -> bool:
    return any(path.as_posix().endswith(file) and text in around for file, text in EXCEPTIONS)


@pytest.mark.parametrize("area", AREAS)
def test_an_area_does_not_contain_the_phrases(area: str) -> None:
    paths = sorted({path for glob in AREAS[area] for path in ROOT.glob(glob)} - {Path(__file__)})
    assert paths
    found = []
    for path in paths:
        text = prose_of(path)
        for phrase in PHRASES:
            for line, around in found_in(text, phrase):
                if not is_exception(path, around):
                    found.append(f"{path.relative_to(ROOT)}:{line}: {phrase!r} in: {around}")
    assert not found, "\n".join(["write these in plainer words (or add an exception):", *sorted(found)])


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("is no", "a file that is no config"),
        ("is none", "a path that is\n    # none"),
        ("of its own", 'a process of "\n    f"its own'),
        ("a run a row", "in a table, a run a row"),
        ("is had", "memory that can be had"),
        ("heed", "it heeds no signal"),
        ("carry on", "the run is carried on"),
        ("carry on", "carries the run on"),
        ("so many", "after so many epochs"),
    ],
)
def test_a_phrase_is_found_over_a_line_break_too(phrase: str, text: str) -> None:
    assert [line for line, _ in found_in(f"\n{text}", phrase)] == [2]


@pytest.mark.parametrize("text", ["there is no file", "it is no longer there", "value is None"])
def test_plain_words_are_not_found(text: str) -> None:
    assert not list(found_in(text, "is no"))


def test_only_comments_and_strings_of_python_are_read(tmp_path: Path) -> None:
    code = '"""A doc\nstring."""\nif x is None:  # a comment\n    y = f"text {x} more"\n'
    (tmp_path / "code.py").write_text(code)
    prose = prose_of(tmp_path / "code.py")
    assert prose.split() == ['"""A', "doc", 'string."""', "#", "a", "comment", *prose.split()[6:]]
    assert len(prose) == len(code)
    assert "is None" not in prose
    assert "text" in prose and "more" in prose
