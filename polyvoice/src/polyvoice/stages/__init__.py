"""The trained stages of a translation: units to units, durations, codec codes."""
