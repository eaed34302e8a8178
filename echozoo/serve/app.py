"""The application: page, routes, and how errors are answered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from echozoo.apis.session import ClickSession
from echozoo.errors import EchoZooError, StorageError
from echozoo.films.contents import open_b_mode
from echozoo.serve import film_routes, hand_routes, intake_routes, routes
from echozoo.serve.guard import Guard
from echozoo.serve.options import ServeOptions
from echozoo.serve.server import Server
from echozoo.serve.uploads import NO_ROOM, Refusal

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".js": "text/javascript; charset=utf-8",
}

_EMBEDDINGS = 48  # kept of each open film; one of SAM's is 4 MB


def _click_session(loaded: Any, film: Any) -> ClickSession:
    return ClickSession(loaded, film, cache_frames=_EMBEDDINGS)


def create_app(
    loaded: Any,
    options: ServeOptions | None = None,
    open_film: Callable[[Path], Any] | None = None,
    start_clicks: Callable[[Any, Any], Any] = _click_session,
) -> Guard:
    """Make the application.

    Args:
        loaded: An `echozoo.apis.model.LoadedModel`.
        options: Limits; the defaults where None.
        open_film: Opens a path as a film; None reads it in a process apart, within the limits, and
            cuts it to its sector.
        start_clicks: Makes what answers the clicks on a film, of (loaded, film).

    Returns:
        An ASGI application; its temporary folder goes when it shuts down.
    """
    options = options or ServeOptions()
    if open_film is None:
        open_film = partial(
            open_b_mode,
            spacing=options.spacing,
            crop=options.crop,
            force=True,
            max_bytes=options.max_unpacked_bytes,
        )
    server = Server(loaded, options, open_film, start_clicks)
    # No pages of documentation: they would load scripts of others.
    app = FastAPI(
        lifespan=server.running, docs_url=None, redoc_url=None, openapi_url=None, title="echozoo"
    )
    _add_errors(app)
    _add_page(app)
    film_routes.add_films(app, server)
    routes.add_masks(app, server)
    hand_routes.add_hand(app, server)
    hand_routes.add_choices(app, server)
    routes.add_jobs(app, server)
    routes.add_results(app, server)
    intake_routes.add_intake(app, server)
    # Outside everything, so that its headers are on every answer.
    return Guard(app, options.hosts)


def _add_errors(app: FastAPI) -> None:
    def answer(status: int, message: str) -> JSONResponse:
        return JSONResponse({"error": " ".join(message.split())}, status)

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> JSONResponse:
        return answer(error.status, str(error))

    @app.exception_handler(StorageError)
    async def full(_: Request, error: StorageError) -> JSONResponse:
        return answer(507, NO_ROOM)

    @app.exception_handler(EchoZooError)
    async def wrong(_: Request, error: EchoZooError) -> JSONResponse:
        return answer(422, str(error))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return answer(422, f"{where or 'request'}: {first['msg']}")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return answer(500, "the server failed; its terminal says more")


def _add_page(app: FastAPI) -> None:
    folder = resources.files("echozoo.serve") / "page"
    # Read once, by the names that are there: what a client asks for never becomes a path.
    files = {
        file.name: (file.read_bytes(), _KINDS[Path(file.name).suffix])
        for file in folder.iterdir()
        if Path(file.name).suffix in _KINDS
    }

    @app.get("/")
    async def index() -> Response:
        return await part("index.html")

    @app.get("/{name}")
    async def part(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "no such page")
        content, kind = files[name]
        return Response(content, media_type=kind)
