"""A language model over discrete units: see README.md for the map of the modules."""
