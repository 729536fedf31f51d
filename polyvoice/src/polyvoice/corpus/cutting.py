"""How long recordings are cut: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from polyvoice.errors import InputError


@dataclass(frozen=True)
class CutSettings:
    """How recordings are cut.

    Attributes:
        above_s: only longer ones.
        longest_s: pieces that are longer are left out.
        wanted_s: a piece this long is not made longer where there is a pause.
        shortest_pause_s: what is shorter is no pause.
        surest: a piece is left out that is so many times longer or shorter than its words at the recording's rate.

    Raises:
        InputError: a value is out of range.
    """

    above_s: float = 4.0
    longest_s: float = 9.0
    wanted_s: float = 5.0
    shortest_pause_s: float = 0.15
    surest: float = 1.6

    def __post_init__(self) -> None:
        if min(self.above_s, self.wanted_s, self.shortest_pause_s) <= 0 or self.longest_s < self.wanted_s:
            raise InputError("lengths are positive, and the longest piece is no shorter than what is wanted")
        if not self.surest > 1:
            raise InputError(
                f"no piece has exactly the length of its words: surest must be above 1, not {self.surest:g}"
            )
