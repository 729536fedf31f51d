"""The frames of HuBERT: one every 20 ms, each seen through 25 ms, none beyond either end.

Encoders that keep to it have the same number of frames for the same audio, and frame t of one lies at the same time as
frame t of another, so that the units of one can be the labels on which another is trained.
"""

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
HOP_SAMPLES = 320


def count_frames(samples: int) -> int:
    """Return how many frames audio of so many samples at 16 kHz has; 0 below 25 ms."""
    return max(0, 1 + (samples - WINDOW_SAMPLES) // HOP_SAMPLES)


def count_samples(frames: int) -> int:
    """Return the fewest samples that give so many frames; inverse of `count_frames` from one frame on."""
    return WINDOW_SAMPLES + (frames - 1) * HOP_SAMPLES
