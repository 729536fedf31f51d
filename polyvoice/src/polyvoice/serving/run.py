"""A server's life: it listens, translates, and when told to stop finishes what it has taken."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import uvicorn

from polyvoice.serving.app import Model, Service

if TYPE_CHECKING:
    from types import FrameType

    from polyvoice.serving.address import Address
    from polyvoice.serving.settings import ServerLimits


class DrainingServer(uvicorn.Server):
    """Stops in two steps: at the first signal nothing more is taken, and it ends when the last answer is sent.

    A plain `uvicorn.Server` closes its door at once and ends by the signal; here who knocks is told why (503), and the
    exit status is 0. A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        """Serve `service` by `config`."""
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's names
        """See the class."""
        if self._service.draining:
            self.should_exit = self.force_exit = True
        self._service.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Look, ten times a second, whether the last one has left."""
        if self._service.draining and not self._service.inside:
            self.should_exit = True
        return await super().on_tick(counter)


def serve(model: Model, address: Address, limits: ServerLimits) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        InputError: the address cannot be listened at.
    """
    service = Service(model, limits)
    config = uvicorn.Config(
        service.make_app(loopback=address.is_loopback),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    listener = address.listen()
    url = address.url_of(listener.getsockname()[1])
    print(f"polyvoice: {model.name} listens on {url}", file=sys.stderr, flush=True)
    asyncio.run(DrainingServer(config, service).serve(sockets=[listener]))
    print("polyvoice: stopped", file=sys.stderr)
