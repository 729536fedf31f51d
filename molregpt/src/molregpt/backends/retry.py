"""When a failed request is sent again, and after how long."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
"""A server that asks for a longer pause than this is treated as failing: a run should stop and say so."""


def is_transient(status: int) -> bool:
    """Whether a status may be different next time: too many requests, or the server's own failure."""
    return status == 429 or status >= 500


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or an HTTP date (RFC 9110, section 10.2.3).

    Args:
        value: The header's value.
        now: The time it was received, with a time zone.

    Returns:
        Seconds, not below 0; None when the value is neither form.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def backoff_delay_s(retry: int, generator: random.Random) -> float:
    """Seconds before retry number `retry` (from 0): doubling, with jitter so that clients do not return together.

    Between half and the whole of `FIRST_DELAY_S * 2**retry`, capped at `LONGEST_DELAY_S`.
    """
    ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(retry, 32))
    return ceiling * generator.uniform(0.5, 1.0)
