"""Compare messages with the texts in tests/golden/messages.txt, so that a test knows a message by its key.

A key is a literal in the test ("config/empty-file"), or in a parametrized test f"config/{name}" with the name
a literal of the same file; so `unused_keys` can tell from the sources which texts no test asks for.

After a message has changed, run its tests with GOLDEN=write in the environment. They put what they see into
the file, and `git diff` shows it. Texts of tests that did not run stay as they are.
"""

import fcntl
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from pydantic import ValidationError

REPOSITORY = Path(__file__).resolve().parents[1]
FILE = REPOSITORY / "tests" / "golden" / "messages.txt"
INDENT = "    "
GENERAL = (
    (re.compile(r"(?<=[\w\])]:)\d{4,5}\b(?=\D|$)"), "<port>"),
    (re.compile(r"(?<=<repository>)(/\S+\.py):\d+"), r"\1:<line>"),
    (re.compile(r"\b0x[0-9a-f]+\b"), "<hex>"),
    (re.compile(r"\b(?=\d*[a-f])[0-9a-f]{16,}\b"), "<hex>"),
)
"""What differs from one run or machine to the next in any message."""

_seen: dict[str, str] = {}
"""The texts that this process has written, by key."""


def assert_golden(key: str, message: str, tmp_path: Path | None = None, /, **names: object) -> None:
    """Fail unless `message` is the text that the golden file holds under `key`.

    In the file, `<tmp>` stands for `tmp_path`, and `<x>` for the text of a keyword argument x.
    """
    __tracebackhide__ = True
    text = machine_independent(message, tmp_path, **names)
    if os.environ.get("GOLDEN") == "write":
        _write(key, text)
        return
    expected = texts_by_key().get(key)
    if text != expected:
        pytest.fail(_difference(key, text, expected), pytrace=False)


@contextmanager
def raises_golden(
    key: str, kind: type[BaseException], tmp_path: Path | None = None, /, **names: object
) -> Iterator[pytest.ExceptionInfo[BaseException]]:
    """Fail unless the block raises an exception of this kind whose message is the golden text of `key`."""
    __tracebackhide__ = True
    with pytest.raises(kind) as raised:
        yield raised
    assert_golden(key, message_of(raised.value), tmp_path, **names)


def message_of(error: BaseException) -> str:
    """Return what an exception says; of pydantic's, the problems without the links to its documentation."""
    if isinstance(error, ValidationError):
        return "\n".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return str(error)


def machine_independent(message: str, tmp_path: Path | None = None, /, **names: object) -> str:
    """Return `message` with placeholders for paths, ports, hexadecimal numbers and what `names` holds.

    Line feeds at its end are dropped.
    """
    known = {"repository": str(REPOSITORY), **{name: str(value) for name, value in names.items()}}
    if tmp_path is not None:
        known["tmp"] = str(tmp_path)
    for name in sorted(known, key=lambda name: len(known[name]), reverse=True):  # a path before its parent's
        if known[name]:
            message = message.replace(known[name], f"<{name}>")
    for pattern, placeholder in GENERAL:
        message = pattern.sub(placeholder, message)
    return message.rstrip("\n")


def texts_by_key() -> dict[str, str]:
    """Return the golden file's texts."""
    with open(FILE, encoding="utf-8", newline="\n") as file:
        return parse(file.read())


def parse(content: str) -> dict[str, str]:
    """Return the texts by their keys. A key is a line; its text follows, indented."""
    lines: dict[str, list[str]] = {}
    for line in content.split("\n")[:-1]:
        if line and not line.startswith(INDENT):
            key = line
            lines[key] = []
        else:
            lines[key].append(line.removeprefix(INDENT))
    return {key: "\n".join(text) for key, text in lines.items()}


def render(texts: dict[str, str]) -> str:
    """Return the content that `parse` reads: the texts in the order of their keys."""
    lines: list[str] = []
    for key in sorted(texts):
        lines += [key, *(line and INDENT + line for line in texts[key].split("\n"))]
    return "".join(f"{line}\n" for line in lines)


def unused_keys(texts: Iterable[str], sources: Iterable[str]) -> list[str]:
    """Return the keys of the golden file that none of the tests' sources writes out or derives."""
    unused = set(texts)
    for source in sources:
        unused -= {key for key in unused if f'"{key}"' in source or _derives(source, key)}
    return sorted(unused)


def remove(keys: Iterable[str]) -> None:
    """Remove these keys and their texts from the golden file."""
    with _locked() as (file, texts):
        _replace(file, {key: text for key, text in texts.items() if key not in set(keys)})


def _derives(source: str, key: str) -> bool:
    prefix, _, name = key.rpartition("/")
    return f'"{prefix}/{{' in source and f'"{name}"' in source


def _write(key: str, text: str) -> None:
    __tracebackhide__ = True
    if _seen.setdefault(key, text) != text:
        pytest.fail(f"two messages have the key {key}:\n{_seen[key]}\n--- and\n{text}", pytrace=False)
    with _locked() as (file, texts):
        if texts.get(key) != text:
            _replace(file, {**texts, key: text})


@contextmanager
def _locked() -> Iterator[tuple[IO[str], dict[str, str]]]:
    """Keep the other processes of pytest-xdist from the file."""
    with open(FILE, "r+", encoding="utf-8", newline="\n") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file, parse(file.read())


def _replace(file: IO[str], texts: dict[str, str]) -> None:
    file.seek(0)
    file.truncate()
    file.write(render(texts))


def _difference(key: str, text: str, expected: str | None) -> str:
    test = os.environ.get("PYTEST_CURRENT_TEST", "tests").partition("::")[0]
    command = f"GOLDEN=write python -m pytest {shlex.quote(test)}"
    golden = "(no text of this key)" if expected is None else expected
    return (
        f"{key}: the message is\n{text}\n--- {FILE.name} has\n{golden}\n--- to accept the message: {command}"
    )
