"""What the site has besides the pages in docs/: CONTRIBUTING.md and CHANGELOG.md as pages, and llms.txt.

MkDocs calls these functions (mkdocs.yml names the file). Links to files beside docs/ are led to their pages, or named.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""Pages that are files at the top of the repository."""
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that do not lie in docs/."""
    from mkdocs.structure.files import File

    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lead links to what lies outside of docs/ to its page, or to its name where it has none."""
    here = ROOT / ("" if page.file.src_uri in PAGES else "docs") / page.file.src_uri
    return linked(markdown, here.parent, len(Path(page.file.src_uri).parts) - 1)


def linked(markdown: str, folder: Path, depth: int = 0) -> str:
    """Text of a file in `folder` with links as the site has them; its page is `depth` folders deep.

    >>> linked("[a](../CHANGELOG.md) [b](../fxcost/cli/)", ROOT / "docs")
    '[a](changelog.md) [b]'
    """
    names = {ROOT / source: page for page, source in PAGES.items()}

    def led(found: re.Match[str]) -> str:
        target = (folder / found[1]).resolve()
        if target in names:
            return f"]({'../' * depth}{names[target]}{found[2] or ''})"
        if target.is_relative_to(ROOT / "docs"):
            return f"]({'../' * depth}{target.relative_to(ROOT / 'docs').as_posix()}{found[2] or ''})"
        if target == ROOT / "README.md":
            return f"]({'../' * depth}index.md)"
        return "]"

    return LINK.sub(led, markdown)


def on_post_build(config: Any) -> None:
    """Write llms.txt, the list of pages for language models, and llms-full.txt, all of them as one text."""
    pages = [(title, path) for title, path in entries(config["nav"]) if not path.startswith("reference/")]
    site, whole = Path(config["site_dir"]), []
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", "", "## Pages", ""]
    for title, path in pages:
        source = ROOT / PAGES[path] if path in PAGES else ROOT / "docs" / path
        text = source.read_text(encoding="utf-8")
        lines.append(f"- [{title}]({path.removesuffix('.md')}.html): {first_sentence(text)}")
        whole.append(text)
    (site / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (site / "llms-full.txt").write_text("\n\n".join(whole), encoding="utf-8")


def entries(nav: Any) -> list[tuple[str, str]]:
    """Titles and files of a navigation, in order.

    >>> entries([{"Home": "index.md"}, {"More": [{"A": "a.md"}]}])
    [('Home', 'index.md'), ('A', 'a.md')]
    """
    found = []
    for entry in nav:
        for title, below in entry.items():
            found += [(title, below)] if isinstance(below, str) else entries(below)
    return found


def first_sentence(text: str) -> str:
    """The first sentence of a page, without its heading and links.

    >>> first_sentence("# Views\\n\\nEvery [view](a.md) is made\\nfrom records. None runs.")
    'Every view is made from records.'
    """
    paragraph = next(
        (
            part
            for part in text.split("\n\n")
            if part.strip() and not part.lstrip().startswith(("#", "!", "<", "`", "|"))
        ),
        "",
    )
    plain = re.sub(r"\[([^\]]*)\](?:\([^)]*\))?", r"\1", " ".join(paragraph.split()))
    sentence = re.split(r"(?<=[.?]) ", plain)[0].rstrip(".:")
    return sentence if sentence.endswith("?") else f"{sentence}."
