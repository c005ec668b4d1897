"""Hooks of mkdocs: pages from files beside docs/, and links that work in the repository and on the site."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
FROM = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository that are pages of the site, and their names there."""
LINK = re.compile(r"(?<!!)\[([^]]*)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that come from files beside docs/."""
    for source, page in FROM.items():
        text = (ROOT / source).read_text().replace('src="docs/', 'src="')
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrite links to pages of the site, and show those to other files of the repository as their paths."""
    origin = {page: source for source, page in FROM.items()}.get(page.file.src_uri)
    folder = ROOT if origin else ROOT / "docs"

    def moved(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = (folder / target).resolve()
        if not path.exists() and Path(target).suffix != ".md":
            return link[0]
        inside = path.relative_to(ROOT).as_posix()
        if inside in FROM:
            return f"[{text}]({FROM[inside]}{anchor})"
        if inside.startswith("docs/"):
            return f"[{text}]({inside.removeprefix('docs/')}{anchor})"
        return f"{text} (`{inside}`)" if text.strip("`") != inside else f"`{inside}`"

    return LINK.sub(moved, markdown)
