"""The routes: JSON in and out, frames as PNG, files to download."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Body, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from echozoo.apis.predicting import label_film
from echozoo.apis.prompts import StructurePrompt, check_frame, check_prompt, make_prompt
from echozoo.serve import downloads, numbers, uploads
from echozoo.serve.guard import UPLOAD_PATH
from echozoo.serve.jobs import Job
from echozoo.serve.kept import plain_prompt
from echozoo.serve.masks import run_lengths
from echozoo.serve.server import Server
from echozoo.serve.store import Place
from echozoo.serve.uploads import Refusal
from echozoo.serve.workspace import Workspace
from echozoo.serve.workspaces import Workspaces

_MASKS_AT_ONCE = 64

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


def add_films(app: FastAPI, server: Server) -> None:
    """What the server offers; opening, looking at and closing a film."""
    workspaces = server.workspaces

    @app.get("/api/model")
    async def model() -> dict[str, Any]:
        loaded = server.loaded
        return {
            "automatic": bool(loaded.automatic),
            "prompts": list(loaded.understands),
            "structures": [
                {"name": s.short, "title": s.full_name, "colour": _hex(s.colour)}
                for s in server.structures
            ],
            "films": server.films.names,
            "max_upload_bytes": server.options.max_upload_bytes,
        }

    @app.get("/api/films")
    async def states() -> list[str]:
        return await run_in_threadpool(server.states)

    @app.post("/api/films/{number}", status_code=201)
    async def open_listed(number: Index, request: Request, instead: Key = "") -> dict[str, Any]:
        path, name = server.films.get(number)
        folder = workspaces.reserve(instead)
        facts = server.films.facts(number)
        with _given_back(workspaces, folder):
            film = await workspaces.identify(path, name)
        return await opened(request, instead, film, folder, lambda _: path, name, facts)

    @app.post(UPLOAD_PATH, status_code=201)
    async def upload(request: Request, instead: Key = "") -> dict[str, Any]:
        limit = server.options.max_upload_bytes
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > limit:
            raise Refusal(413, f"the file is larger than {uploads.megabytes(limit)} MB")
        folder = workspaces.reserve(instead)
        with _given_back(workspaces, folder):
            path = await uploads.receive_upload(request.stream(), folder, limit)
            film = await workspaces.identify(path, "the file")
        return await opened(
            request, instead, film, folder, lambda place: place.take_upload(path), "the file"
        )

    @app.post("/api/kept/{film}", status_code=201)
    async def open_kept(film: Key, request: Request, instead: Key = "") -> dict[str, Any]:
        folder = workspaces.reserve(instead)
        return await opened(request, instead, film, folder, _upload_of, "the film")

    async def opened(request: Request, instead: str, *given: Any) -> dict[str, Any]:
        key = await workspaces.open(*given)
        if await request.is_disconnected():  # nobody will ever ask for it
            workspaces.close(key)
            raise Refusal(410, "the page has gone")
        workspaces.close(instead)
        return server.describe(key)

    @app.get("/api/open/{key}")
    async def describe(key: Key) -> dict[str, Any]:
        return server.describe(key)

    @app.get("/api/open/{key}/news")
    async def news(key: Key) -> dict[str, Any]:
        return server.news(key)

    @app.post("/api/open/{key}/leave", status_code=204)
    async def leave(key: Key) -> None:
        workspaces.leave(key)

    @app.delete("/api/open/{key}", status_code=204)
    async def close(key: Key) -> None:
        workspaces.close(key)

    @app.get("/api/open/{key}/frames/{frame}")
    async def picture(key: Key, frame: Index) -> Response:
        workspace = workspaces.get(key)
        check_frame(workspace.film, frame)
        png = await run_in_threadpool(workspace.picture, frame)
        return Response(png, media_type="image/png")


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()


@contextlib.contextmanager
def _given_back(workspaces: Workspaces, folder: Path) -> Iterator[None]:
    """Give a place back where no film comes to it, a broken connection included."""
    try:
        yield
    except BaseException:
        workspaces.release(folder)
        raise


def _upload_of(place: Place) -> Path:
    if place.upload is None:
        raise Refusal(
            404, "the film is no longer here: open its file again, what was done on it is kept"
        )
    return place.upload


def _check_idle(workspace: Workspace) -> None:
    if workspace.busy:
        raise Refusal(409, "the film is being segmented; stop that or wait for its end")


def add_masks(app: FastAPI, server: Server) -> None:
    """Clicks, and the masks that they give."""

    def shown(workspace: Workspace, frame: int) -> dict[str, list[int]]:
        found = workspace.masks.frame(frame)
        return {name: run_lengths(mask) for name, mask in found.items()}

    @app.post("/api/open/{key}/clicks")
    async def click(key: Key, clicks: Annotated[Clicks, Body()]) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        _check_idle(workspace)
        prompt = _checked(server, workspace, clicks)

        def segment() -> None:
            there = workspace.prompts.get(clicks.frame, {})
            workspace.click(clicks.frame, there | {clicks.structure: prompt})

        await server.on_model(segment)
        server.workspaces.changed(workspace, key)
        return {"frame": clicks.frame, "masks": shown(workspace, clicks.frame)}

    @app.delete("/api/open/{key}/clicks/{frame}/{structure}")
    async def unclick(key: Key, frame: Index, structure: str) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        _check_idle(workspace)
        check_frame(workspace.film, frame)
        if structure not in server.loaded.structures:
            known = ", ".join(server.loaded.structures)
            raise Refusal(422, f"structure {structure!r}: this model has {known}")

        def segment() -> None:
            there = workspace.prompts.get(frame, {})
            rest = {name: prompt for name, prompt in there.items() if name != structure}
            if rest != there:
                workspace.click(frame, rest)

        await server.on_model(segment)
        server.workspaces.changed(workspace, key)
        return {"frame": frame, "masks": shown(workspace, frame)}

    @app.get("/api/open/{key}/masks")
    async def masks(key: Key, start: Index, stop: Index) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        stop = min(stop, workspace.film.num_frames, start + _MASKS_AT_ONCE)

        def collect() -> list[dict[str, list[int]]]:
            return [shown(workspace, frame) for frame in range(start, stop)]

        return {"start": start, "masks": await run_in_threadpool(collect)}

    @app.delete("/api/open/{key}/masks", status_code=204)
    async def clear(key: Key) -> None:
        workspace = server.workspaces.get(key)
        _check_idle(workspace)
        workspace.clear()
        server.workspaces.changed(workspace, key)

    @app.get("/api/open/{key}/clicks")
    async def clicks_given(key: Key) -> list[dict[str, Any]]:
        prompts = server.workspaces.get(key).prompts
        return [
            {"frame": frame, "structure": name, **plain_prompt(prompt)}
            for frame, given in prompts.items()
            for name, prompt in given.items()
        ]

    @app.put("/api/open/{key}/done", status_code=204)
    async def done(key: Key, is_so: Annotated[bool, Body(embed=True, alias="done")]) -> None:
        workspace = server.workspaces.get(key)
        workspace.choices = replace(workspace.choices, done=is_so)
        server.workspaces.changed(workspace, key)


def _checked(server: Server, workspace: Workspace, clicks: Clicks) -> StructurePrompt:
    """Return what was clicked as a prompt, or refuse what cannot be segmented."""
    if not server.loaded.understands:
        raise Refusal(422, "this model takes no clicks; let it segment the film")
    prompt = make_prompt(clicks.points, clicks.labels, clicks.box)
    check_prompt(server.loaded, workspace.film, clicks.frame, clicks.structure, prompt)
    if clicks.box is None and 1 not in clicks.labels:
        raise Refusal(422, "click on the structure first; background alone says nothing")
    return prompt


def add_jobs(app: FastAPI, server: Server) -> None:
    """Work on the whole film."""

    @app.post("/api/open/{key}/carry/{frame}", status_code=202)
    async def carry(key: Key, frame: Index) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        _check_idle(workspace)
        check_frame(workspace.film, frame)
        masks, prompts = workspace.masks.frame(frame), workspace.prompts.get(frame)
        if not masks:
            raise Refusal(
                422, f"frame {frame + 1} has no mask to carry; click on a structure first"
            )
        sought = workspace.masks.sought(frame)
        marked = [k for k, given in workspace.prompts.items() if given and k != frame]
        others = {k: workspace.masks.clicked(k) for k in marked}
        carried = partial(workspace.clicks.carry, frame, masks, prompts, others)
        return _start(key, workspace, carried, sought)

    @app.post("/api/open/{key}/film", status_code=202)
    async def film(key: Key) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        _check_idle(workspace)
        if not server.loaded.automatic:
            raise Refusal(422, "this model needs a click; carry its mask through the film")
        loaded = server.loaded
        film = partial(label_film, loaded, workspace.film)
        return _start(key, workspace, film, loaded.structures)

    def _start(
        key: str, workspace: Workspace, frames: Callable, structures: Collection[str]
    ) -> dict[str, Any]:
        def keep(frame: int, labels: np.ndarray) -> None:
            workspace.masks.carry(frame, labels, structures)
            server.workspaces.changed(workspace, key)

        rounds = server.loaded.model.postprocessing.rounds
        workspace.job = Job(workspace.film.num_frames * rounds, keep)
        workspace.job.start(frames, server.on_model)
        return workspace.job.report()

    @app.get("/api/open/{key}/job")
    async def report(key: Key) -> dict[str, Any]:
        job = server.workspaces.get(key).job
        if job is None:
            raise Refusal(404, "nothing has been started on this film")
        return job.report()

    @app.delete("/api/open/{key}/job", status_code=204)
    async def stop(key: Key) -> None:
        job = server.workspaces.get(key).job
        if job is not None:
            job.stop()


def add_results(app: FastAPI, server: Server) -> None:
    """Measures, and files to take away."""

    @app.get("/api/open/{key}/measures")
    async def measured(key: Key) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        measures = await run_in_threadpool(workspace.measures)
        return numbers.shown(measures, unfinished=workspace.busy)

    @app.get("/api/open/{key}/masks.nii.gz")
    async def volume(key: Key) -> Response:
        workspace = server.workspaces.get(key)
        path = await run_in_threadpool(downloads.write_masks, workspace)
        done = BackgroundTask(shutil.rmtree, path.parent, ignore_errors=True)
        return FileResponse(path, media_type="application/gzip", background=done)

    @app.get("/api/open/{key}/measures.csv")
    async def table(key: Key) -> Response:
        workspace = server.workspaces.get(key)
        measures = await run_in_threadpool(workspace.measures)
        return Response(measures.table(), media_type="text/csv; charset=utf-8")
