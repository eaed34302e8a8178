"""What stands before every route: who may call, how much they may send, what a browser may do."""

from __future__ import annotations

import asyncio
import json
import re
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD_PATH = "/api/uploads"
_FILES = re.compile(
    rf"{UPLOAD_PATH}|/api/open/[^/]+/(masks|clicks\.json)"
)  # have limits of their own
_MAX_BODY = 64 * 1024  # of every other request
_SAFE_METHODS = ("GET", "HEAD")
_STALLED = 30.0  # seconds without a byte of a body
_SLOWEST = 8 * 1024  # bytes a second, once half a minute has gone

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Images of patients stay out of the browser's cache on disk.
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: Host and Origin checks, limits on bodies and their time, security headers.

    Args:
        app: The application behind it.
        hosts: Names allowed in the Host header; None allows any.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] | None) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        if refusal:
            await _answer(send_guarded, *refusal)
            return
        limit = None if _FILES.fullmatch(scope["path"]) else _MAX_BODY
        await self.app(scope, _limited(receive, limit), send_guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason of a request that goes no further."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            return 421, f"Host {host[:80]!r} is not this server; use {' or '.join(self.hosts)}"
        if "content-length" in headers and "transfer-encoding" in headers:
            return (
                400,
                "Content-Length and Transfer-Encoding: wanted one of them, to know its end",
            )
        if scope["method"] in _SAFE_METHODS:
            return None
        # No page of another site may act here, not even blindly.
        origin = headers.get("origin")
        try:
            foreign = origin is not None and urlsplit(origin).netloc != host
        except ValueError:
            return 400, f"Origin {origin[:80]!r} is no address"
        if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "only this server's own page may do that"
        length = headers.get("content-length", "0")
        of_file = _FILES.fullmatch(scope["path"])
        if not of_file and (not length.isdigit() or int(length) > _MAX_BODY):
            return 413, f"a request of {length[:20]} bytes, at most {_MAX_BODY} are taken"
        return None


def _name(host: str) -> str:
    """The Host header without its port, lower case; an IPv6 address keeps its brackets."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def _limited(receive: Receive, limit: int | None) -> Receive:
    """Take no more than ``limit`` bytes of a body, and wait for none of them for ever.

    A body that stalls, or that comes byte by byte, is answered with 408: whoever sends it would
    hold one of the places for films.
    """
    seen, begun, whole = 0, time.monotonic(), False

    async def receive_limited() -> Message:
        nonlocal seen, whole
        if whole:  # what comes now is the client's leaving, as late as it likes
            return await receive()
        left = begun + _STALLED + seen / _SLOWEST - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(min(left, _STALLED), 0))
        except asyncio.TimeoutError:
            raise HTTPException(408, "the request came too slowly; send it again") from None
        whole = not message.get("more_body", False)
        seen += len(message.get("body", b""))
        if limit is not None and seen > limit:
            raise HTTPException(413, f"a request of more than {limit} bytes")
        return message

    return receive_limited


async def _answer(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # what is left of the body is not read
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
