"""Where the page is shown and what may be asked of it: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from molregpt.errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """What one visitor may ask.

    Attributes:
        waiting: Questions that may wait behind the one that is answered.
        longest_query: Characters of a question.
        most_shots: Most examples that may be shown to the model.
        most_drawn: Most neighbours that are drawn.
        request_timeout_s: An answer must be there by then.
    """

    waiting: int = 16
    longest_query: int = 5000
    most_shots: int = 20
    most_drawn: int = 8
    request_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        for name in ("waiting", "longest_query", "most_drawn"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.most_shots < 0:
            raise InputError(f"most_shots must not be negative, got {self.most_shots}")
        if not self.request_timeout_s > 0:
            raise InputError(f"request_timeout_s must be above 0, got {self.request_timeout_s:g}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page is shown.

    Attributes:
        host: Only this machine can reach the default; 0.0.0.0 is for everybody, and there is no password.
        port: 0 takes one that is free.
    """

    host: str = "127.0.0.1"
    port: int = 7860

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError(f"port must be 0 to 65535, got {self.port}")

    def find_port(self) -> int:
        """The port, once it is sure that it can be listened at.

        Raises:
            InputError: It is taken, or the host is not of this machine.
        """
        import socket

        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            with socket.create_server((self.host, self.port), family=family) as listener:
                return int(listener.getsockname()[1])
        except OSError as error:
            told = error.strerror or str(error)
            raise InputError(f"cannot listen on {self.host} port {self.port}: {told}") from error

    def url_of(self, port: int) -> str:
        """What a browser is given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}"
