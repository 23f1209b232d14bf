"""The documentation site builds without a warning, and what it links to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

ROOT = Path(__file__).parents[1]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := found.get(name))]
        self.names |= {value for name in ("id", "name") if (value := found.get(name))}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as the workflow builds it."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    path = tmp_path_factory.mktemp("site")
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return path


PAGES = sorted((ROOT / "docs").rglob("*.md"))


def test_every_page_is_in_the_navigation() -> None:
    """`mkdocs build --strict` would warn; here without MkDocs."""
    listed = re.findall(r"^ +- [^:\n]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    made = {"index.md", "contributing.md", "changelog.md"}  # by docs/site_hooks.py
    assert {str(path.relative_to(ROOT / "docs")) for path in PAGES} | made == set(listed)
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("*.md"))], ids=lambda path: path.name)
def test_links_of_the_sources_lead_somewhere(page: Path) -> None:
    """Files that Markdown links to are there, also where MkDocs is not installed."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = {urldefrag(link)[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)}
    files = {link for link in links if link and not re.match(r"[a-z]+:", link)}
    assert {link for link in files if not (page.parent / unquote(link)).exists()} == set()


def test_public_names_are_in_the_sources_of_the_reference() -> None:
    """Every public name, those of `fxcost.parallel` too, has its line in docs/reference/; here without MkDocs."""
    import fxcost

    texts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md"))
    listed = {line.rpartition(".")[2] for line in re.findall(r"^::: (fxcost\.[\w.]+)", texts, re.MULTILINE)}
    errors = {name for name in fxcost.__all__ if name.endswith("Error")}
    recipes = set(fxcost.parallel.__all__) - {"Recipe"}
    assert (set(fxcost.__all__) | recipes) - errors - {"conventions", "parallel"} <= listed


def test_every_link_leads_somewhere(site: Path) -> None:
    """Pages, pictures, styles and headings that are linked to inside of the site are there."""
    pages: dict[Path, _Links] = {}
    for path in site.rglob("*.html"):
        pages[path] = _Links()
        pages[path].feed(path.read_text(encoding="utf-8"))
    assert len(pages) > 25
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(link)
            if re.match(r"[a-z]+:|/|\.?$", target) and target:
                continue  # elsewhere, or the whole site
            file = (path.parent / unquote(target)).resolve() if target else path
            file = file / "index.html" if file.is_dir() else file
            wrong_name = anchor and file in pages and unquote(anchor) not in pages[file].names
            if not file.exists() or wrong_name:
                broken.append((str(path.relative_to(site)), link))
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """No script, style, font or picture of another host."""
    text = (site / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"""<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)=["']?https?://""", text)


def test_language_models_find_the_pages(site: Path) -> None:
    """llms.txt names every page with a sentence, and llms-full.txt has their texts."""
    lines = (site / "llms.txt").read_text(encoding="utf-8").splitlines()
    listed = [re.fullmatch(r"- \[(.+)\]\((.+)\): (.+[.?])", line) for line in lines if line.startswith("- ")]
    assert len(listed) > 20
    for found in listed:
        assert found is not None
        assert (site / found[2]).exists()
    whole = (site / "llms-full.txt").read_text(encoding="utf-8")
    assert "# Counting" in whole or "What is counted" in whole


def test_public_functions_are_in_the_reference(site: Path) -> None:
    """Every public name has an entry."""
    import fxcost

    texts = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    names = set(fxcost.__all__) - {"conventions", "parallel"} | set(fxcost.parallel.__all__) - {"Recipe"}
    assert {name for name in names if not re.search(rf'id="fxcost\.[\w.]*\b{name}"', texts)} == set()
