"""Figures of a server in Prometheus's text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """Counts and times, each server its own; the process's memory is among them."""

    def __init__(self, inside: Callable[[], int]) -> None:
        """`inside` says how many requests are being translated or wait."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "polyvoice_requests", "Requests for translation, by the status they got", ["status"], registry=registry
        )
        self._duration = Histogram(
            "polyvoice_request_seconds", "From request to last byte", buckets=_SECONDS, registry=registry
        )
        self._first = Histogram(
            "polyvoice_first_audio_seconds", "From request to first sound", buckets=_SECONDS, registry=registry
        )
        self._stages = Counter("polyvoice_stage_seconds", "Computing, by stage", ["stage"], registry=registry)
        self._heard = Counter("polyvoice_source_audio_seconds", "Speech that was translated", registry=registry)
        self._said = Counter("polyvoice_output_audio_seconds", "Speech that was made", registry=registry)
        waiting = Gauge("polyvoice_requests_inside", "Requests that are translated or wait", registry=registry)
        waiting.set_function(lambda: float(inside()))

    def count_request(self, status: int, seconds: float) -> None:
        """A request was answered; status 499 is one whose client went away."""
        self._requests.labels(str(status)).inc()
        self._duration.observe(seconds)

    def count_first_audio(self, seconds: float) -> None:
        """The first sound of a request is there."""
        self._first.observe(seconds)

    def count_piece(self, heard_s: float, said_s: float, stages: Mapping[str, float]) -> None:
        """A piece was translated."""
        self._heard.inc(heard_s)
        self._said.inc(said_s)
        for stage, seconds in stages.items():
            self._stages.labels(stage).inc(seconds)

    def render(self) -> bytes:
        """All figures as text."""
        return generate_latest(self._registry)
