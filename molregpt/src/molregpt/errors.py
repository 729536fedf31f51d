"""What this package raises when the input, not the program, is at fault."""

import molindex.errors
import unitlm.errors


class InputError(ValueError):
    """The input is wrong; the message is one line that says what and where. Commands exit with status 2 on it."""


INPUT_ERRORS = (InputError, molindex.errors.InputError, unitlm.errors.InputError)
"""What all packages raise when the input is wrong."""
