"""Finding the pairs of a pool that are most like a query: strategies by name."""
