"""Where a server listens: on this machine alone, unless it is told otherwise."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from polyvoice.errors import InputError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        host: only this machine can reach the default; 0.0.0.0 is for everybody, and there is no password.
        port: 0 takes one that is free.

    Raises:
        InputError: there is no such port.
    """

    host: str = "127.0.0.1"
    port: int = 8000

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError(f"port must be 0 to 65535, got {self.port}")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in _LOOPBACK

    def listen(self) -> socket.socket:
        """Open the door.

        Raises:
            InputError: the port is taken, or the host is not of this machine.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=128)
        except OSError as error:
            told = error.strerror or str(error)
            raise InputError(f"cannot listen on {self.host} port {self.port}: {told}") from error

    def url_of(self, port: int) -> str:
        """What a browser is given, for the port that is really listened on."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}"
