"""What this package raises when the input, not the program, is at fault."""


class InputError(ValueError):
    """The input is wrong; the message is one line that says what and where. Commands exit with status 2 on it."""
