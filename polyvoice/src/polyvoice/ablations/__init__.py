"""Ablations: variants of a system, trained and judged by the ordinary commands, become one table."""
