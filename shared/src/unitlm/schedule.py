"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "wsd", "constant"]


def learning_rate_factor(
    step: int, *, schedule: Schedule, steps: int, warmup_steps: int, decay_steps: int, final_factor: float
) -> float:
    """The factor on the peak learning rate at `step`.

    Every schedule rises linearly over `warmup_steps`. `cosine` then falls to `final_factor` at the last step (SGDR,
    arXiv 1608.03983); `wsd` stays at 1 and falls over the last `decay_steps` only (MiniCPM, arXiv 2404.06395) by
    1 - sqrt (the better of the shapes in arXiv 2405.18392, section 4); `constant` stays.

    Args:
        step: The step about to be taken, counted from 1.
        schedule: Its shape.
        steps: Steps of the whole run.
        warmup_steps: Steps until the peak.
        decay_steps: Steps of the fall at the end (`wsd` only).
        final_factor: The factor at the last step.
    """
    if step <= warmup_steps:
        return step / warmup_steps
    if schedule == "cosine":
        done = (step - warmup_steps) / max(1, steps - warmup_steps)
        return final_factor + (1.0 - final_factor) * 0.5 * (1.0 + math.cos(math.pi * done))
    if schedule == "wsd" and step > steps - decay_steps:
        done = (step - (steps - decay_steps)) / decay_steps
        return final_factor + (1.0 - final_factor) * (1.0 - math.sqrt(done))
    return 1.0


def is_before_fall(step: int, *, schedule: Schedule, steps: int, decay_steps: int) -> bool:
    """Whether no learning rate up to `step` depends on how long the run is."""
    return step <= {"cosine": 0, "wsd": steps - decay_steps, "constant": steps}[schedule]
