"""The command line: one file per command, each parsing into a frozen dataclass and calling one library function."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

INPUT_ERROR = 2
OUR_FAULT = 1
INTERRUPTED = 130

COMMANDS = (
    "caption",
    "generate",
    "retrieve",
    "evaluate",
    "score",
    "index",
    "data",
    "samples",
    "web",
    "train",
    "adapt",
    "tune",
    "relevance",
)
"""Each names a module of this package, and its dataclass of the same name in capitals."""


class Command(Protocol):
    """What the dataclass of every command can do."""

    def run(self) -> None:
        """Do the command's work."""
        ...


def main() -> None:
    """The console script `molregpt`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status: 0 done, 2 the input is at fault (one line on stderr says what and where), 1 the program is.
    """
    from molregpt.errors import INPUT_ERRORS
    from unitlm.errors import DISK_ERRORS

    if list(arguments) == ["--version"]:
        from importlib.metadata import version

        print(f"molregpt {version('molregpt')}")
        return 0
    try:
        parse(arguments).run()
        sys.stdout.flush()
    except INPUT_ERRORS as error:
        print(f"molregpt: {' '.join(str(error).split())}", file=sys.stderr)
        return INPUT_ERROR
    except KeyboardInterrupt:
        print("molregpt: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone, as in `molregpt ... | head`: nobody is left to be told.
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            return _confess()
        # From a library that writes by itself: the user can make space or change a folder's mode, we cannot.
        print(f"molregpt: {error.filename or 'a file'}: cannot be written or read ({error.strerror})", file=sys.stderr)
        return INPUT_ERROR
    except Exception:
        return _confess()
    return 0


def _confess() -> int:
    """Show where the program went wrong; gives the exit status."""
    import traceback

    traceback.print_exc()
    print("molregpt: this is a fault of the program, not of the input", file=sys.stderr)
    return OUR_FAULT


def parse(arguments: Sequence[str]) -> Command:
    """Read a command line; prints help or the mistake and exits where there is no command to run."""
    import tyro

    # Only the command that was asked for is imported; help on all of them needs all.
    names = [name for name in COMMANDS if name in arguments[:1]] or list(COMMANDS)
    kinds = {name: getattr(import_module(f"molregpt.cli.{name}"), name.capitalize()) for name in names}
    # Option names are flat (--model, not --settings.server.model): the groups are ours, not the user's.
    config = (
        tyro.conf.OmitSubcommandPrefixes,
        tyro.conf.OmitArgPrefixes,
        tyro.conf.FlagCreatePairsOff,
        tyro.conf.UseAppendAction,
    )
    if len(kinds) == 1:
        [(name, kind)] = kinds.items()
        return cast("Command", tyro.cli(kind, prog=f"molregpt {name}", args=arguments[1:], config=config))
    command: Any = tyro.extras.subcommand_cli_from_dict(
        kinds,
        prog="molregpt",
        description="Molecules to captions and captions to molecules, grounded in retrieved neighbours.",
        args=arguments,
        config=config,
    )
    return cast("Command", command)
