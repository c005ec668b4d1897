"""Define the console that commands print to."""

import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from evodevo.harmless import harmless

UNWRAPPED = 10_000
"""Width of the console if stdout is not a terminal."""


class HarmlessConsole(Console):
    """A console that prints text verbatim: without markup, automatic colours or control characters.

    Without a terminal it neither wraps lines nor pads them.
    """

    def __init__(self, **settings: Any) -> None:
        width = None if sys.stdout and sys.stdout.isatty() else UNWRAPPED
        super().__init__(markup=False, highlight=False, emoji=False, **{"width": width, **settings})

    def print(self, *objects: Any, **settings: Any) -> None:
        if self.is_terminal:
            super().print(*objects, **settings)
            return
        with self.capture() as padded:
            super().print(*objects, **settings)
        text = re.sub(" +$", "", padded.get(), flags=re.MULTILINE)
        super().print(text, end="", soft_wrap=True)

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(harmless(text), **settings)
