"""Text of others on one's terminal: an escape sequence in it is shown and not obeyed."""

import click


def harmless(text: str) -> str:
    """Return the text with control characters (but newline and tab) and lone surrogates as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)


def complain(text: str) -> None:
    """Say what is wrong, on stderr."""
    click.echo(harmless(text), err=True)
