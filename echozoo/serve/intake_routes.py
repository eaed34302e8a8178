"""Routes of files that a user brings back: masks and clicks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from echozoo.apis.prompts import StructurePrompt
from echozoo.errors import DataError
from echozoo.serve import uploads
from echozoo.serve.intake import read_clicks, read_masks
from echozoo.serve.requests import Index, Key, check_idle
from echozoo.serve.server import Server
from echozoo.serve.uploads import Refusal

_MOST_CLICKS = 2**20  # bytes


def add_intake(app: FastAPI, server: Server) -> None:
    """Masks replace those of their frames; clicks are segmented anew."""

    @app.post("/api/open/{key}/masks")
    async def bring_masks(key: Key, frame: Index, request: Request) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        with tempfile.TemporaryDirectory(dir=workspace.folder) as folder:
            limit = server.options.max_upload_bytes
            path = await uploads.receive_upload(request.stream(), Path(folder), limit)
            given = workspace.film, server.loaded.structures, frame
            try:
                brought = await run_in_threadpool(read_masks, path, *given)
            except DataError as error:
                raise Refusal(422, str(error).replace(str(path), "the file")) from error
        check_idle(workspace)
        with workspace.step():
            for at, labels in brought.maps.items():
                workspace.replace(at, labels, brought.structures)
        server.workspaces.changed(workspace, key)
        return {"frames": len(brought.maps), "notes": brought.notes}

    @app.post("/api/open/{key}/clicks.json", status_code=202)
    async def bring_clicks(key: Key, request: Request) -> dict[str, Any]:
        workspace = server.workspaces.get(key)
        check_idle(workspace)
        if not server.loaded.understands:
            raise Refusal(422, "this model takes no clicks; let it segment the film")
        with tempfile.TemporaryDirectory(dir=workspace.folder) as folder:
            path = await uploads.receive_upload(request.stream(), Path(folder), _MOST_CLICKS)
            content = path.read_bytes()
        wanted: dict[int, dict[str, StructurePrompt]] = {}
        for prompts in read_clicks(content, server.loaded, workspace.film):
            there = wanted.get(prompts.frame) or workspace.prompts.get(prompts.frame, {})
            wanted[prompts.frame] = {**there, **prompts.structures}
        check_idle(workspace)

        def segmented() -> Iterator[tuple[int, np.ndarray]]:
            for frame, prompts in wanted.items():
                yield frame, workspace.clicks.segment_all(frame, prompts)

        def keep(frame: int, labels: np.ndarray) -> None:
            workspace.keep_click(frame, labels, wanted[frame], *wanted[frame])

        with workspace.step():
            return server.start(key, workspace, segmented, len(wanted), keep)
