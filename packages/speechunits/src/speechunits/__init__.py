"""Waveforms to discrete units and back."""
