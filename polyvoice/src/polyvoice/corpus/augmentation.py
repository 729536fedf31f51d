"""How often and how strongly `augment` changes speech."""

from __future__ import annotations

from dataclasses import dataclass

from polyvoice.errors import InputError


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often and how strongly speech is changed; each range is drawn from evenly.

    Attributes:
        speed: Range of speeds, by resampling (pitch follows).
        semitones: Range of pitch shifts that keep the speed.
        pitch_share: Part of the utterances that is shifted.
        snr_db: Range of signal-to-noise ratios.
        noise_share: Part that gets noise, of a colour between white and brown.
        decay_s: Range of reverberation times (RT60).
        room_share: Part that is heard in a room.
        telephone_share: Part that is heard by telephone.
        gain_db: Range of gains.

    Raises:
        InputError: A share is not in [0, 1], a range is not in order, or speeds or decays are not positive.
    """

    speed: tuple[float, float] = (0.9, 1.1)
    semitones: tuple[float, float] = (-2.0, 2.0)
    pitch_share: float = 0.3
    snr_db: tuple[float, float] = (5.0, 30.0)
    noise_share: float = 0.6
    decay_s: tuple[float, float] = (0.15, 0.7)
    room_share: float = 0.5
    telephone_share: float = 0.1
    gain_db: tuple[float, float] = (-12.0, 3.0)

    def __post_init__(self) -> None:
        for name in ("pitch_share", "noise_share", "room_share", "telephone_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie from 0 to 1, not at {getattr(self, name):g}")
        for name in ("speed", "semitones", "snr_db", "decay_s", "gain_db"):
            low, high = getattr(self, name)
            if not low <= high or (name in ("speed", "decay_s") and low <= 0):
                raise InputError(f"{name} from {low:g} to {high:g} is not a range, or not positive")
