"""What this package raises when the input, not the program, is at fault."""


class InputError(ValueError):
    """The input is wrong; the message is one line that says what and where. Commands exit with status 2 on it."""


class DivergedError(InputError, FloatingPointError):
    """A training has left the numbers: the data or, more often, the learning rate is at fault."""
