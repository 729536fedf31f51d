"""`python -m molregpt`."""

from molregpt.cli import main

main()
