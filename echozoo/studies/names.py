"""What names say: the view of a film, and the patient of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable

VIEWS = ("2CH", "4CH")
# Words of a name in capitals, with one space between them; the other views name themselves.
_VIEWS = {
    "2CH": r"A?2CH?|A?2C|AP ?2(CH?)?|(APICAL )?(2|TWO) ?CHAMBERS?( VIEW)?|CH2",
    "4CH": r"A?4CH?|A?4C|AP ?4(CH?)?|(APICAL )?(4|FOUR) ?CHAMBERS?( VIEW)?|CH4",
    "3CH": r"A?3CH?|A?3C|AP ?3(CH?)?|APLAX|A?LAX|(APICAL )?(3|THREE) ?CHAMBERS?( VIEW)?"
    r"|APICAL LONG AXIS",
    "5CH": r"A?5CH?|A?5C|AP ?5(CH?)?|(APICAL )?(5|FIVE) ?CHAMBERS?( VIEW)?",
    "PLAX": r"PLAX|PARASTERNAL LONG AXIS",
    "PSAX": r"PSAX|SAX|(PARASTERNAL )?SHORT AXIS",
    "subcostal": r"SUBCOSTAL|SC4CH?",
}
_PATTERNS = {
    view: re.compile(rf"(?<![A-Z0-9])({words})(?![A-Z0-9])") for view, words in _VIEWS.items()
}
_CAMUS = re.compile(
    r"(?P<patient>.+?)[_ -]?(?P<view>2CH|4CH)(?:[_ -](?P<rest>.*))?$", re.IGNORECASE
)


def view_of(name: str) -> str | None:
    """The view that a name or a description says: "2CH", "4CH", another one, or None."""
    words = re.sub(r"[^A-Z0-9]+", " ", name.upper())
    found = [view for view, pattern in _PATTERNS.items() if pattern.search(words)]
    return found[0] if len(found) == 1 else None


def view_of_any(names: Iterable[str]) -> str | None:
    """The view of the first name that says one."""
    return next((view for view in map(view_of, names) if view), None)


def camus_name(name: str) -> tuple[str, str] | None:
    """Patient and the rest of a name of CAMUS's form, ``<patient>_<view>_<rest>``; or None."""
    found = _CAMUS.fullmatch(name)
    return (found["patient"], (found["rest"] or "").upper()) if found else None


def still_of(name: str) -> str | None:
    """The instant that a still's name of CAMUS's form says: "ED", "ES", or None."""
    rest = (camus_name(name) or ("", ""))[1]
    return rest if rest in ("ED", "ES") else None
