"""What the person who starts the server decides."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echozoo.errors import ConfigError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_POSITIVE = (
    "max_upload_bytes", "max_unpacked_bytes", "max_films", "idle_seconds", "leave_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class ServeOptions:
    """Limits of a server, and the folder whose films it offers.

    Attributes:
        films: Folder of films to offer; None offers none, uploads alone.
        max_upload_bytes: Largest upload.
        max_unpacked_bytes: What a film may take unpacked; None is the limit of `open_film`.
        max_films: Films that may be open at once; each open page has one.
        idle_seconds: A film that no page has asked for so long is closed; what was done on it is
            kept.
        leave_seconds: A page that was left and does not come back within this time was closed.
        hosts: Names by which a browser may call the server (the Host header without its port);
            None allows any.
        crop: Whether films are cut to their sectors.
        spacing: (dy, dx) mm of all films, in place of what their files say.
        save_dir: Folder that sessions are kept in; None is the private one of this user.

    Raises:
        ConfigError: A limit is not positive.
    """

    films: Path | None = None
    max_upload_bytes: int = 512 * 2**20
    max_unpacked_bytes: int | None = None
    max_films: int = 8
    idle_seconds: float = 1800.0
    leave_seconds: float = 30.0
    hosts: tuple[str, ...] | None = LOOPBACK_NAMES
    crop: bool = True
    spacing: tuple[float, float] | None = None
    save_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ConfigError(f"{name}={value}: wanted a positive number")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str, proxies: Sequence[str] = ()) -> tuple[str, ...] | None:
    """Names a browser may use for a server on ``host``, or behind proxies of these names.

    On loopback they are those of loopback alone: a page of another site whose name was made to
    point here (DNS rebinding) sends that site's name, and is refused. On a network address any
    name may be the right one.
    """
    if not is_loopback(host):
        return None
    own = f"[{host}]" if ":" in host else host
    return tuple(dict.fromkeys((*LOOPBACK_NAMES, own, *map(str.lower, proxies))))
