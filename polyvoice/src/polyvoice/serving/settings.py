"""Limits of a server: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from polyvoice.errors import InputError


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
