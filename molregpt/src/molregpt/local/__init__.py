"""A small language model of molecules and descriptions, with retrieved neighbours in its context."""
