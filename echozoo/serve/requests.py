"""What requests may hold, and what several routes ask of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from echozoo.serve.uploads import Refusal
from echozoo.serve.workspace import Workspace

Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6, strict=True)]
Index = Annotated[int, Field(ge=0, le=10**9)]
Strict = Field(strict=True)  # in JSON true is no 1
Key = Annotated[str, Field(max_length=64)]


class Clicks(BaseModel):
    """What was clicked for one structure in one frame, in pixels of the film."""

    model_config = ConfigDict(extra="forbid")

    frame: Annotated[Index, Strict]
    structure: Annotated[str, Field(max_length=16)]
    points: Annotated[list[tuple[Coordinate, Coordinate]], Field(max_length=64)] = []
    labels: Annotated[list[Annotated[int, Field(ge=0, le=1), Strict]], Field(max_length=64)] = []
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None


def check_structure(loaded: Any, structure: str) -> None:
    """Refuse a structure that the model does not know.

    Raises:
        Refusal: It does not (422).
    """
    if structure not in loaded.structures:
        raise Refusal(
            422, f"structure {structure!r}: this model has {', '.join(loaded.structures)}"
        )


def check_idle(workspace: Workspace) -> None:
    """Refuse what cannot be done while a job changes the masks.

    Raises:
        Refusal: One is running (409).
    """
    if workspace.busy:
        raise Refusal(409, "the film is being segmented; stop that or wait for its end")
