"""Routes of films: what the server offers, opening, looking at and leaving one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from echozoo.apis.prompts import check_frame
from echozoo.serve import uploads
from echozoo.serve.guard import UPLOAD_PATH
from echozoo.serve.requests import Index, Key
from echozoo.serve.server import Server
from echozoo.serve.store import Place
from echozoo.serve.uploads import Refusal
from echozoo.serve.workspaces import Workspaces


def add_films(app: FastAPI, server: Server) -> None:
    """What the server offers; opening, looking at and closing a film."""
    workspaces = server.workspaces

    @app.get("/api/model")
    async def model() -> dict[str, Any]:
        loaded = server.loaded
        return {
            "automatic": bool(loaded.automatic),
            "prompts": list(loaded.understands),
            "trained": list(loaded.prompts),
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
