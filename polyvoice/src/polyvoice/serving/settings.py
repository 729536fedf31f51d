"""Limits of what strangers may ask: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from polyvoice.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask, and how many may wait.

    Attributes:
        waiting: requests that may wait behind the one that is translated; more are told to come back.
        longest_recording_s: longer recordings are refused.
        largest_upload_mb: larger uploads are refused.
        request_timeout_s: a translation that takes longer is given up; the time of waiting counts where a program asks
            (`polyvoice serve`), not on the page.

    Raises:
        InputError: a value is out of range.
    """

    waiting: int = 16
    longest_recording_s: float = 300.0
    largest_upload_mb: float = 25.0
    request_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if self.waiting < 0:
            raise InputError(f"waiting must not be negative, got {self.waiting}")
        _require_positive(self, "longest_recording_s", "largest_upload_mb", "request_timeout_s")

    @property
    def largest_upload_bytes(self) -> int:
        """Bytes of the largest upload."""
        return round(self.largest_upload_mb * 1e6)


@dataclass(frozen=True)
class ServerLimits(Limits):
    """What one client may ask of the HTTP server.

    Attributes:
        upload_timeout_s: a request that has not arrived by then is refused.

    Raises:
        InputError: a value is out of range.
    """

    upload_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self, "upload_timeout_s")


def _require_positive(limits: Limits, *names: str) -> None:
    for name in names:
        if not getattr(limits, name) > 0:
            raise InputError(f"{name} must be above 0, got {getattr(limits, name):g}")
