"""Print untrusted text on a terminal: escape sequences are shown, not executed."""

import click


def harmless(text: str) -> str:
    """Return a text with control characters (except newline and tab) and lone surrogates escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)


def complain(text: str) -> None:
    """Print a complaint on stderr."""
    click.echo(harmless(text), err=True)
