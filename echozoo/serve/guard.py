"""What stands before every route: who may call, how much they may send, what a browser may do."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD_PATH = "/api/uploads"
_MAX_BODY = 64 * 1024  # of every other request
_SAFE_METHODS = ("GET", "HEAD")

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
    """ASGI middleware: Host and Origin checks, limits on bodies, security headers.

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
        if scope["path"] != UPLOAD_PATH:
            receive = _limited(receive, _MAX_BODY)
        await self.app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason of a request that goes no further."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            return 421, f"Host {host[:80]!r} is not this server; use {' or '.join(self.hosts)}"
        if scope["method"] in _SAFE_METHODS:
            return None
        # No page of another site may act here, not even blindly.
        origin = headers.get("origin")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") or (
            origin is not None and urlsplit(origin).netloc != host
        ):
            return 403, "only this server's own page may do that"
        length = headers.get("content-length", "0")
        if scope["path"] != UPLOAD_PATH and (not length.isdigit() or int(length) > _MAX_BODY):
            return 413, f"a request of {length[:20]} bytes, at most {_MAX_BODY} are taken"
        return None


def _name(host: str) -> str:
    """The Host header without its port, lower case; an IPv6 address keeps its brackets."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def _limited(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def receive_limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
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
