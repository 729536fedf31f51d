"""Back ends: what answers a question. See `create_backend` for the choices and `Backend` for what they share."""

from molregpt.backends.factory import create_backend
from molregpt.backends.options import BackendOptions, Prices, ServerOptions
from molregpt.backends.protocol import Backend, BackendError, BudgetError, ServerBackend, name_backend, name_model

__all__ = [
    "Backend",
    "BackendError",
    "BackendOptions",
    "BudgetError",
    "Prices",
    "ServerBackend",
    "ServerOptions",
    "create_backend",
    "name_backend",
    "name_model",
]
