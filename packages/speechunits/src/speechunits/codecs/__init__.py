"""Codecs: waveforms to codes on several levels, and back."""
