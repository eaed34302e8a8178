"""Starting and ending the server."""

from __future__ import annotations

import importlib.util
import socket
from typing import Any

from echozoo.errors import ConfigError
from echozoo.serve.options import ServeOptions, is_loopback


def check_installed() -> None:
    """Refuse to start without the packages of the extra "serve".

    Raises:
        ConfigError: One of them is not installed.
    """
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} not installed, wanted for the page: "
            "pip install 'echozoo[serve]'"
        )


def serve(loaded: Any, options: ServeOptions, host: str, port: int) -> None:
    """Serve until interrupted, and say where.

    Args:
        loaded: An `echozoo.apis.model.LoadedModel`.
        options: Limits.
        host: Address to listen on.
        port: Its port; 0 takes a free one.

    Raises:
        ConfigError: The address cannot be used.
    """
    check_installed()
    import uvicorn

    from echozoo.serve.app import create_app
    from echozoo.serve.connections import ImpatientProtocol

    app = create_app(loaded, options)
    listener = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{listener.getsockname()[1]}/  (Ctrl-C ends)", flush=True)
    if not is_loopback(host):
        print(
            f"warning: anyone who can reach {host} can open films here and see the films of"
            " --films, unencrypted and without a password; --host 127.0.0.1 is for you alone",
            flush=True,
        )
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn passes it on once it has shut down
        print()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"{host}:{port}: cannot listen there ({reason}); choose another --host or --port"
        ) from error
