"""Scores of captions and of molecules, each with a bootstrap interval and the versions that it depends on."""

METRICS_VERSION = "2"
"""Raised whenever any score of the same input changes; stored beside every score."""
