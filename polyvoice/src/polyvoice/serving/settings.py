"""Limits of a server: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from polyvoice.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """What one client may ask of a server, and how many may wait.

    Attributes:
        waiting: requests that may wait behind the one that is translated; more are told to come back (429).
        longest_recording_s: longer recordings are refused (413).
        largest_upload_mb: larger requests are refused (413).
        upload_timeout_s: a request must have arrived by then (408).
        request_timeout_s: an answer must be whole by then, counted from the request's arrival (504).

    Raises:
        InputError: a value is out of range.
    """

    waiting: int = 16
    longest_recording_s: float = 300.0
    largest_upload_mb: float = 25.0
    upload_timeout_s: float = 30.0
    request_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if self.waiting < 0:
            raise InputError(f"waiting must not be negative, got {self.waiting}")
        for name in ("longest_recording_s", "largest_upload_mb", "upload_timeout_s", "request_timeout_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name):g}")

    @property
    def largest_upload_bytes(self) -> int:
        """Bytes of the largest request."""
        return round(self.largest_upload_mb * 1e6)


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
        return self.host in LOOPBACK
