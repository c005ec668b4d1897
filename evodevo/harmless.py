"""Text of others on one's terminal: an escape sequence in it is shown and not obeyed."""

from typing import Any

import click
from rich.console import Console
from rich.text import Text


def harmless(text: str) -> str:
    """Return the text with control characters (but newline and tab) and lone surrogates as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)


def complain(text: str) -> None:
    """Say what is wrong, on stderr."""
    click.echo(harmless(text), err=True)


class HarmlessConsole(Console):
    """Prints text as it is: no markup, no colours of its own choice, no control characters."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(harmless(text), **settings)
