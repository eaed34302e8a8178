"""The picture of the house, from the text that the page and the tests know."""

from __future__ import annotations

import re
from html import escape

WIDTH, FLOOR = 720, 40


def draw(text: str) -> str:
    """An SVG of floors, a line each from the roof down: names, two spaces, what they are for."""
    lines = [re.split(r"\s{2,}", line, maxsplit=1) for line in text.strip().splitlines()]
    height = FLOOR * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="The floors of the house" font-size="14" font-family="sans-serif">'
    ]
    for floor, (names, *purpose) in enumerate(lines):
        top = FLOOR * floor
        inset = 6 * (len(lines) - 1 - floor)  # wider towards the ground
        parts.append(
            f'<rect x="{inset}" y="{top + 2}" width="{WIDTH - 2 * inset}" height="{FLOOR - 4}" '
            'rx="4" fill="teal" fill-opacity="0.14" stroke="teal"/>'
            f'<text x="{inset + 14}" y="{top + 25}" fill="currentColor" font-weight="bold">'
            f"{escape(names)}</text>"
        )
        if purpose:
            parts.append(
                f'<text x="{WIDTH - inset - 14}" y="{top + 25}" fill="currentColor" '
                f'text-anchor="end">{escape(purpose[0])}</text>'
            )
    # Only inside of a block of HTML does Markdown leave a name like __main__ alone.
    return "".join(["<div>", *parts, "</svg></div>"])
