"""Which ejection fractions are given, and which are withheld, with the reason."""

from __future__ import annotations

import math

EF_PERCENT = (0.0, 90.0)
"""What an ejection fraction can be: hyperdynamic ventricles reach 80 %."""
MOST_FLAGGED = 0.5
"""Share of frames with an implausible label map above which a film's numbers are not given."""
MOST_OUTSIDE = 0.1
"""Share of the left ventricle outside of the sector above which its volume is not known."""


def why_withheld(ef_percent: float, flagged: float, outside: float, view: str | None) -> str:
    """Say why an ejection fraction is not given; "" where it is.

    Args:
        ef_percent: As measured; NaN where a mask shows no ventricle.
        flagged: Share of the film's frames with a flag.
        outside: Largest share of the ventricle outside of the sector, at ED and ES.
        view: "2CH" or "4CH", None where it is not known.
    """
    low, high = EF_PERCENT
    if math.isnan(ef_percent):
        return "no ventricle at end diastole or end systole"
    if not low <= ef_percent <= high:
        return f"impossible, wanted {low:.0f} to {high:.0f} %"
    if view is None:
        return "the view is not known"
    if flagged > MOST_FLAGGED:
        return f"{flagged:.0%} of the frames have an implausible label map"
    if outside > MOST_OUTSIDE:
        return f"{outside:.0%} of the left ventricle lies outside of the sector"
    return ""
