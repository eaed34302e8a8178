"""The limits of temporal consistency, bounds and thresholds of each attribute, with provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echozoo.errors import ConfigError
from echozoo.evaluation.functional.attributes import BY_KEY
from echozoo.evaluation.functional.temporal import Limit

_SHIPPED = Path(__file__).parent / "temporal_limits"
_NUMBERS = ("min", "max", "threshold")
_WAY_OUT = "echozoo limits writes such files"


@dataclass(frozen=True)
class TemporalLimits:
    """Limits by attribute, and where they are from."""

    name: str
    attributes: dict[str, Limit]
    provenance: str
    """In one sentence."""
    details: tuple[str, ...] = ()
    """The rest of it, a sentence or more each."""

    def as_content(self) -> dict[str, Any]:
        """The limits as a JSON file holds them."""
        return {
            "name": self.name,
            "attributes": {key: limit._asdict() for key, limit in self.attributes.items()},
            "provenance": self.provenance,
            "details": list(self.details),
        }


def load_limits(source: str | Path | Mapping[str, Any]) -> TemporalLimits:
    """Load limits of temporal consistency.

    Args:
        source: "camus" for those shipped, a JSON file of echozoo limits, or the
            content of one. Attributes may be fewer than seven.

    Returns:
        The limits; attributes in their usual order.

    Raises:
        ConfigError: There is no such file, or it does not hold limits.
    """
    if isinstance(source, Mapping):
        return _checked(source, "limits")
    shipped = _SHIPPED / f"{source}.json"
    path = shipped if shipped.is_file() else Path(source).expanduser()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(repr(file.stem) for file in sorted(_SHIPPED.glob("*.json")))
        raise ConfigError(
            f"limits {str(source)!r}: cannot be read ({error.strerror}); wanted {names} or a JSON"
            f" file; {_WAY_OUT}"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: no JSON ({error}); {_WAY_OUT}") from error
    return _checked(content, str(path))


def _checked(content: Any, where: str) -> TemporalLimits:
    found = content.get("attributes") if isinstance(content, Mapping) else None
    if not isinstance(found, Mapping) or not found:
        raise ConfigError(f"{where}: no 'attributes' with min, max and threshold; {_WAY_OUT}")
    provenance = content.get("provenance")
    if not isinstance(provenance, str) or not provenance.strip():
        raise ConfigError(
            f"{where}: no 'provenance', wanted a text that says where limits are from"
        )
    unknown = [key for key in found if key not in BY_KEY]
    if unknown:
        raise ConfigError(f"{where}: attribute {unknown[0]!r}, wanted some of {', '.join(BY_KEY)}")
    limits = {key: _limit(found[key], f"{where}: {key}") for key in BY_KEY if key in found}
    details = tuple(str(line) for line in content.get("details") or ())
    return TemporalLimits(str(content.get("name") or where), limits, provenance, details)


def _limit(numbers: Any, where: str) -> Limit:
    given = [numbers.get(name) if isinstance(numbers, Mapping) else None for name in _NUMBERS]
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in given):
        raise ConfigError(f"{where} is {numbers!r}, wanted numbers min, max and threshold")
    limit = Limit(*map(float, given))
    if limit.min >= limit.max or limit.threshold <= 0:
        raise ConfigError(f"{where} is {numbers!r}, wanted min < max and a threshold above 0")
    return limit
