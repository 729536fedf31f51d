"""The running account of tokens and money, and the budget that stops before it is overdrawn."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from molregpt.backends.protocol import BudgetError
from molregpt.records import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from molregpt.backends.options import Prices


class Account:
    """Adds up what was used, and admits a request only while the budget covers its worst case.

    Requests in flight hold a reservation of their worst case, so that concurrency cannot overdraw the budget. A
    request that does not fit waits until the reservations before it are settled, and only then is refused.
    """

    def __init__(self, prices: Prices, budget: float | None) -> None:
        self.prices = prices
        self.total = Usage()
        self._budget = budget
        self._reserved = 0.0
        self._settled = asyncio.Condition()

    def _fits(self, cost: float) -> bool:
        return self._budget is None or self.total.cost + self._reserved + cost <= self._budget

    @asynccontextmanager
    async def admit(self, prompt_tokens: int, completion_tokens: int) -> AsyncIterator[None]:
        """Hold the money for one request while the body runs.

        Args:
            prompt_tokens: Estimate of the tokens to be sent.
            completion_tokens: Most tokens that may come back.

        Raises:
            BudgetError: Even with nothing else in flight the request could overdraw the budget.
        """
        cost = self.prices.cost(prompt_tokens, completion_tokens)
        async with self._settled:
            await self._settled.wait_for(lambda: self._fits(cost) or self._reserved <= 0)
            if not self._fits(cost):
                raise BudgetError(
                    f"budget of {self._budget:g} reached: {self.total.cost:.6g} is spent and the next request may cost "
                    f"up to {cost:.6g}"
                )
            self._reserved += cost
        try:
            yield
        finally:
            async with self._settled:
                # Float dust must not look like a request that is still in flight.
                self._reserved = max(0.0, self._reserved - cost)
                if self._reserved < 1e-12:
                    self._reserved = 0.0
                self._settled.notify_all()

    def record(self, usage: Usage) -> None:
        """Add `usage` to the total."""
        self.total = self.total + usage
