"""How many of a question's neighbours count for what, and how much."""

from __future__ import annotations

COPIED = 5
"""Neighbours whose answers are drafts, and, where they are molecules, candidates."""

SUPPORTING = 10
"""Neighbours whose answers speak for an answer that is like them."""

SHARPNESS = 0.05
"""By which a neighbour's relevance, 0 to 1, becomes its vote."""
