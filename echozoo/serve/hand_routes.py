"""Routes of what is done by hand: strokes of the brush, steps back and forth, what is decided."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import Body, FastAPI
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from echozoo.apis.prompts import check_frame
from echozoo.serve.masks import run_lengths
from echozoo.serve.requests import Coordinate, Index, Key, Strict, check_idle, check_structure
from echozoo.serve.server import Server
from echozoo.serve.strokes import MOST_POINTS, MOST_RADIUS, covered
from echozoo.serve.uploads import Refusal

Frame = Annotated[Index, Strict]
Step = Annotated[float, Field(allow_inf_nan=False, ge=0.005, le=50, strict=True)]


class Stroke(BaseModel):
    """A stroke of the brush, in pixels of the film; `covered` says which ones it changes."""

    model_config = ConfigDict(extra="forbid")

    frame: Frame
    structure: Annotated[str, Field(max_length=16)]
    erase: Annotated[bool, Strict] = False
    radius: Annotated[float, Field(allow_inf_nan=False, gt=0, le=MOST_RADIUS, strict=True)]
    points: Annotated[
        list[tuple[Coordinate, Coordinate]], Field(min_length=1, max_length=MOST_POINTS)
    ]


class Instants(BaseModel):
    """Frames that a person says are ED and ES; None is told from the areas."""

    model_config = ConfigDict(extra="forbid")

    ed: Frame | None = None
    es: Frame | None = None


class Spacing(BaseModel):
    """(dy, dx) mm a pixel, or the depth in cm of what the page shows; neither is unknown."""

    model_config = ConfigDict(extra="forbid")

    spacing: tuple[Step, Step] | None = None
    depth_cm: Annotated[float, Field(allow_inf_nan=False, ge=1, le=60, strict=True)] | None = None


def add_hand(app: FastAPI, server: Server) -> None:
    """Strokes, undo and redo."""

    @app.post("/api/open/{key}/strokes")
    async def stroke(key: Key, given: Annotated[Stroke, Body()]) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        check_frame(workspace.film, given.frame)
        check_structure(server.loaded, given.structure)

        def draw() -> dict[str, list[int]]:
            where = covered(np.array(given.points), given.radius, workspace.film.size)
            workspace.draw(given.frame, given.structure, where, given.erase)
            found = workspace.masks.frame(given.frame)
            return {name: run_lengths(mask) for name, mask in found.items()}

        masks = await run_in_threadpool(draw)
        server.workspaces.changed(workspace, key)
        return {"frame": given.frame, "masks": masks}

    async def step(key: Key, again: bool) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        frames = await run_in_threadpool(workspace.undo, again)
        if frames is None:
            raise Refusal(409, f"there is nothing to {'do again' if again else 'take back'}")
        server.workspaces.changed(workspace, key)
        return {"frames": frames, "spacing": workspace.film.spacing, **workspace.steps()}

    @app.post("/api/open/{key}/undo")
    async def undo(key: Key) -> dict[str, Any]:
        return await step(key, again=False)

    @app.post("/api/open/{key}/redo")
    async def redo(key: Key) -> dict[str, Any]:
        return await step(key, again=True)

    @app.post("/api/open/{key}/look/{frame}", status_code=204)
    async def look(key: Key, frame: Index) -> None:
        workspace = server.workspaces.get(key)
        check_frame(workspace.film, frame)
        server.look(workspace, frame)


def add_choices(app: FastAPI, server: Server) -> None:
    """ED and ES, and the spacing of a film that does not say it."""

    @app.put("/api/open/{key}/instants", status_code=204)
    async def instants(key: Key, given: Annotated[Instants, Body()]) -> None:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        for frame in (given.ed, given.es):
            if frame is not None:
                check_frame(workspace.film, frame)
        if given.ed is not None and given.ed == given.es:
            raise Refusal(422, f"frame {given.ed + 1} cannot be ED and ES; set another one")
        workspace.choose(ed=given.ed, es=given.es)
        server.workspaces.changed(workspace, key)

    @app.put("/api/open/{key}/spacing", status_code=204)
    async def spacing(key: Key, given: Annotated[Spacing, Body()]) -> None:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        if workspace.has_spacing:
            raise Refusal(
                422,
                "the film says its spacing; --spacing, when the server is started,"
                " stands over that",
            )
        found = given.spacing
        if given.depth_cm is not None:
            if found is not None:
                raise Refusal(422, "spacing and depth are given: wanted one of them")
            found = (10 * given.depth_cm / workspace.film.size[0],) * 2
        # On the model's thread: what is encoded there is of the spacing before.
        await server.on_model(lambda: workspace.choose(spacing=found))
        server.workspaces.changed(workspace, key)
