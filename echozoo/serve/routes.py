"""Routes of masks: clicks, work on the whole film, results. JSON in and out, files to download."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from echozoo.apis.predicting import label_film
from echozoo.apis.prompts import StructurePrompt, check_frame, check_prompt, make_prompt
from echozoo.serve import downloads, numbers
from echozoo.serve.kept import plain_prompt
from echozoo.serve.masks import run_lengths
from echozoo.serve.requests import Clicks, Index, Key, check_idle, check_structure
from echozoo.serve.server import Server
from echozoo.serve.uploads import Refusal
from echozoo.serve.workspace import Workspace

_MASKS_AT_ONCE = 64

Way = Literal["both", "forward", "backward", "between"]


def add_masks(app: FastAPI, server: Server) -> None:
    """Clicks, and the masks that they give."""

    def shown(workspace: Workspace, frame: int) -> dict[str, list[int]]:
        found = workspace.masks.frame(frame)
        return {name: run_lengths(mask) for name, mask in found.items()}

    @app.post("/api/open/{key}/clicks")
    async def click(key: Key, clicks: Annotated[Clicks, Body()]) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        prompt = _checked(server, workspace, clicks)

        def segment() -> None:
            there = workspace.prompts.get(clicks.frame, {})
            together = there | {clicks.structure: prompt}
            workspace.click(clicks.frame, together, clicks.structure)

        await server.on_model(segment)
        server.workspaces.changed(workspace, key)
        return {"frame": clicks.frame, "masks": shown(workspace, clicks.frame)}

    @app.delete("/api/open/{key}/clicks/{frame}/{structure}")
    async def unclick(key: Key, frame: Index, structure: str) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        check_frame(workspace.film, frame)
        check_structure(server.loaded, structure)

        def segment() -> None:
            there = workspace.prompts.get(frame, {})
            rest = {name: prompt for name, prompt in there.items() if name != structure}
            workspace.click(frame, rest, structure)

        if frame in workspace.masks.corrected:
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
        check_idle(workspace)
        with workspace.step():
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
    async def carry(key: Key, frame: Index, way: Way = "both") -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        check_frame(workspace.film, frame)
        if workspace.clicks is None:
            raise Refusal(422, "this model takes no clicks; let it segment the film")
        frame, reach = workspace.reach(frame, way)
        masks, prompts = workspace.masks.frame(frame), workspace.prompts.get(frame)
        if not masks:
            raise Refusal(
                422, f"frame {frame + 1} has no mask to carry; click on a structure first"
            )
        sought = workspace.masks.sought(frame)
        others = {k: workspace.masks.known(k) for k in workspace.masks.corrected - {frame}}
        carried = partial(workspace.clicks.carry, frame, masks, prompts, others, reach)
        with workspace.step():
            return start(key, workspace, carried, sought, reach)

    @app.post("/api/open/{key}/film", status_code=202)
    async def film(key: Key) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        if not server.loaded.automatic:
            raise Refusal(422, "this model needs a click; carry its mask through the film")
        loaded = server.loaded
        film = partial(label_film, loaded, workspace.film)
        whole = range(workspace.film.num_frames)
        # The beginning of a film is no step: nobody wants to take it back.
        with workspace.step() if workspace.masks.changes else contextlib.nullcontext():
            return start(key, workspace, film, loaded.structures, whole)

    def start(
        key: str, workspace: Workspace, frames: Callable, structures: Collection[str], reach: range
    ) -> dict[str, Any]:
        whole = len(reach) == workspace.film.num_frames
        rounds = server.loaded.model.postprocessing.rounds if whole else 1
        keep = partial(workspace.masks.carry, structures=structures)
        return server.start(key, workspace, frames, len(reach) * rounds, keep)

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
        exam = await run_in_threadpool(server.exams.note, workspace, measures)
        return numbers.shown(measures, exam, workspace)

    @app.get("/api/open/{key}/masks.nii.gz")
    async def volume(key: Key) -> Response:
        workspace = server.workspaces.get(key)
        path = await run_in_threadpool(downloads.write_masks, workspace)
        done = BackgroundTask(shutil.rmtree, path.parent, ignore_errors=True)
        return FileResponse(path, media_type="application/gzip", background=done)

    @app.get("/api/open/{key}/clicks.json")
    async def clicks_file(key: Key) -> Any:
        return downloads.clicks(server.workspaces.get(key))

    @app.get("/api/open/{key}/measures.csv")
    async def table(key: Key) -> Response:
        workspace = server.workspaces.get(key)
        measures = await run_in_threadpool(workspace.measures)
        exam = await run_in_threadpool(server.exams.note, workspace, measures)
        text = numbers.table(measures, exam, workspace.masks.corrected)
        return Response(text, media_type="text/csv; charset=utf-8")
