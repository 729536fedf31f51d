"""Encoders: waveforms to frames of features."""
