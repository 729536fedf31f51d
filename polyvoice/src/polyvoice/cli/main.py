"""The entry point: finds the command, runs it, and turns what goes wrong into an exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from importlib import import_module
from io import StringIO
from typing import Any, Protocol, cast

import unitlm.errors
from polyvoice.errors import INPUT_ERRORS

INPUT_ERROR = 2
OUR_FAULT = 1
INTERRUPTED = 130


COMMANDS = (
    "translate",
    "serve",
    "web",
    "units",
    "kmeans",
    "tasks",
    "train",
    "bundle",
    "ablate",
    "evaluate",
    "samples",
    "corpus",
)
"""Each names a module of this package, and its dataclass of the same name, capitalized."""


class Command(Protocol):
    """What the dataclass of every command can do."""

    def run(self) -> None:
        """Do the command's work."""
        ...


def main() -> None:
    """The console script `polyvoice`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status: 0 done, 2 the input is at fault (one line on stderr says what and where), 1 the program is.
    """
    if list(arguments) == ["--version"]:
        from importlib.metadata import version

        print(f"polyvoice {version('polyvoice-s2st')}")
        return 0
    try:
        parse(arguments).run()
        sys.stdout.flush()
    except INPUT_ERRORS as error:
        print(f"polyvoice: {' '.join(str(error).split())}", file=sys.stderr)
        return INPUT_ERROR
    except KeyboardInterrupt:
        print("polyvoice: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone, as in `polyvoice ... | head`: nobody is left to be told.
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno not in unitlm.errors.DISK_ERRORS:
            return _confess()
        # From a library that writes by itself: the user can make space or change a folder's mode, we cannot.
        print(f"polyvoice: {error.filename or 'a file'}: cannot be written or read ({error.strerror})", file=sys.stderr)
        return INPUT_ERROR
    except Exception:
        return _confess()
    return 0


def _confess() -> int:
    """Show where the program went wrong; gives the exit status."""
    import traceback

    traceback.print_exc()
    print("polyvoice: this is a fault of the program, not of the input", file=sys.stderr)
    return OUR_FAULT


def parse(arguments: Sequence[str]) -> Command:
    """Read a command line; prints help or the mistake and exits where there is no command to run.

    Raises:
        InputError: the value of an option is out of range; so do the other packages' errors of that name.
    """
    complaint = StringIO()
    try:
        with redirect_stderr(complaint):
            return _read_command(arguments)
    except SystemExit as stop:
        # tyro draws a box about what settings say of their values; without it, it is one line as all else is.
        cause: BaseException | None = stop
        while cause is not None:
            if isinstance(cause, INPUT_ERRORS):
                raise cause from None
            cause = cause.__context__
        sys.stderr.write(complaint.getvalue())
        raise


def _read_command(arguments: Sequence[str]) -> Command:
    import tyro

    # Only the command that was asked for is imported; help on all of them needs all.
    names = [name for name in COMMANDS if name in arguments[:1]] or list(COMMANDS)
    kinds = {name: getattr(import_module(f"polyvoice.cli.{name}"), name.capitalize()) for name in names}
    # Option names are flat (--steps, not --settings.course.steps): the groups are ours, not the user's.
    config = (
        tyro.conf.OmitSubcommandPrefixes,
        tyro.conf.OmitArgPrefixes,
        tyro.conf.FlagCreatePairsOff,
        tyro.conf.UseAppendAction,
    )
    if len(kinds) == 1:
        [(name, kind)] = kinds.items()
        return cast("Command", tyro.cli(kind, prog=f"polyvoice {name}", args=arguments[1:], config=config))
    command: Any = tyro.extras.subcommand_cli_from_dict(
        kinds,
        prog="polyvoice",
        description="Speech-to-speech translation with language models over discrete speech units.",
        args=arguments,
        config=config,
    )
    return cast("Command", command)


if __name__ == "__main__":
    main()
