"""Define the console that commands print to."""

from typing import Any

from rich.console import Console
from rich.text import Text

from evodevo.harmless import harmless


class HarmlessConsole(Console):
    """A console that prints text verbatim: without markup, automatic colours or control characters."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(harmless(text), **settings)
