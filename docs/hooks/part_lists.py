"""The reference of parts: every class that a decorator enters into a registry, kind by kind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# Registry, and heading; of MODELS the folder below echozoo/models tells the kind.
KINDS = {
    "backbones": "Image encoders",
    "TEMPORAL_MODULES": "Temporal modules",
    "necks": "Necks",
    "PROMPT_HEADS": "Prompt heads",
    "decoders": "Mask decoders and decode heads",
    "ADAPTERS": "Adapters",
    "MEMORIES": "Memories",
    "segmentors": "Segmentors",
    "MODELS": "Other networks",
    "losses": "Losses",
    "DATASETS": "Data sets",
    "TRANSFORMS": "Transforms",
    "METRICS": "Metrics",
    "POSTPROCESSING": "Post-processing",
    "HOOKS": "Hooks",
}


def find_parts(root: Path) -> Iterator[tuple[str, str]]:
    """The kind and the whole name of each registered class below a folder; nothing is imported."""
    for file in sorted((root / "echozoo").rglob("*.py")):
        module = ".".join(file.relative_to(root).with_suffix("").parts)
        for node in ast.parse(file.read_text()).body:
            for decorator in getattr(node, "decorator_list", ()):
                text = ast.unparse(decorator)
                if isinstance(node, ast.ClassDef) and ".register_module(" in text:
                    registry = text.partition(".")[0]
                    kind = file.parent.name if registry == "MODELS" else registry
                    yield KINDS.get(kind, KINDS.get(registry, "")), f"{module}.{node.name}"


def as_directives(root: Path) -> str:
    """Headings, and a line for mkdocstrings a part."""
    parts = list(find_parts(root))
    lines = []
    for heading in KINDS.values():
        lines.append(f"## {heading}\n")
        lines += [f"::: {name}\n" for kind, name in parts if kind == heading]
    return "\n".join(lines)
