"""What MkDocs does beside turning pages to HTML: model cards, notebooks, the picture of the house.

Named in mkdocs.yml; MkDocs calls the functions by their names.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from blocks import notebook
from commands import as_sections
from house import draw
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from part_lists import as_directives

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = "tutorials/"
# Pages that go on with what is found in the code.
FOUND = {"reference/parts.md": as_directives, "reference/commands.md": as_sections}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Model cards lie beside their weights; every tutorial is a notebook too."""
    for card in sorted((ROOT / "echozoo/weights").glob("*.md")):
        files.append(File.generated(config, f"models/{card.name}", abs_src_path=str(card)))
    for page in list(files.documentation_pages()):
        if page.src_uri.startswith(TUTORIALS):
            text = json.dumps(notebook(page.content_string), indent=1, ensure_ascii=False)
            name = page.src_uri.replace(".md", ".ipynb")
            files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """What a block needs is said, the house is drawn, a tutorial offers its notebook."""
    name = page.file.src_uri
    markdown = re.sub(
        r"^<!-- needs: (.+) -->$", r"<small>Needs \1.</small>\n", markdown, flags=re.M
    )
    markdown = re.sub(r"^```house\n(.*?)^```$", lambda m: draw(m[1]), markdown, flags=re.M | re.S)
    cards = "../" * name.count("/") + "models/"
    markdown = re.sub(r"\]\((?:\.\./)+echozoo/weights/", f"]({cards}", markdown)
    if name.startswith(TUTORIALS):
        link = f"[This page as a notebook]({Path(name).stem}.ipynb)"
        markdown = markdown.replace("\n", f"\n\n{link}\n", 1)
    if name in FOUND:
        markdown += f"\n{FOUND[name](ROOT)}"
    return markdown
