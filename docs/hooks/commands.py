"""The reference of commands: what `echozoo` knows, with the file of tools/ that is the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def find_commands(root: Path) -> dict[str, tuple[str, str]]:
    """By command: what its file says of it, and the name of its file in tools/."""
    tools = {
        match[1]: file.name
        for file in (root / "tools").glob("*.py")
        if (match := re.search(r'^    run\("(\w+)"\)$', file.read_text(), re.MULTILINE))
    }
    files = sorted((root / "echozoo/cli").glob("[!_]*.py"))
    texts = {file.stem: ast.get_docstring(ast.parse(file.read_text())) or "" for file in files}
    return {name: (text, tools.get(name, "")) for name, text in texts.items()}


def as_sections(root: Path) -> str:
    """A heading a command, its first line, and the rest as it is written."""
    sections = []
    for name, (text, tool) in find_commands(root).items():
        first, _, rest = text.partition("\n")
        same = f" (`tools/{tool}`)" if tool else ""
        sections.append(f"## echozoo {name}\n\n{first}{same}\n")
        if rest.strip():
            sections.append(f"```text\n{rest.strip()}\n```\n")
    return "\n".join(sections)
