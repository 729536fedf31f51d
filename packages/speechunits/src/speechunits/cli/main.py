"""The entry point: finds the command, runs it, and turns what goes wrong into an exit status."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

INPUT_ERROR = 2
OUR_FAULT = 1
INTERRUPTED = 130

DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
)
"""What `OSError.errno` is when a disk is full, broken, not to be written, or has a file where a folder should be."""

COMMANDS = ("extract", "kmeans", "report", "train-codec", "cut-whisper")
"""Each names a module of this package, and its dataclass: train-codec is TrainCodec in train_codec.py."""


class Command(Protocol):
    """What the dataclass of every command can do."""

    def run(self) -> None:
        """Do the command's work."""
        ...


def main() -> None:
    """The console script `speechunits`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name.

    Returns:
        The exit status: 0 done, 2 the input is at fault (one line on stderr says what and where), 1 the program is.
    """
    from speechunits.errors import InputError

    try:
        parse(arguments).run()
        sys.stdout.flush()
    except InputError as error:
        print(f"speechunits: {' '.join(str(error).split())}", file=sys.stderr)
        return INPUT_ERROR
    except KeyboardInterrupt:
        print("speechunits: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone, as in `speechunits ... | head`: nobody is left to be told.
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            return _confess()
        # From a library that writes by itself: the user can make space or change a folder's mode, we cannot.
        print(
            f"speechunits: {error.filename or 'a file'}: cannot be written or read ({error.strerror})", file=sys.stderr
        )
        return INPUT_ERROR
    except Exception:
        return _confess()
    return 0


def _confess() -> int:
    """Show where the program went wrong; gives the exit status."""
    import traceback

    traceback.print_exc()
    print("speechunits: this is a fault of the program, not of the input", file=sys.stderr)
    return OUR_FAULT


def parse(arguments: Sequence[str]) -> Command:
    """Read a command line; prints help or the mistake and exits where there is no command to run."""
    import tyro

    kinds: dict[str, Any] = {name: _import_command(name) for name in COMMANDS}
    command: Any = tyro.extras.subcommand_cli_from_dict(
        kinds,
        prog="speechunits",
        description="Waveforms to discrete units and codes, for whole corpora.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return cast("Command", command)


def _import_command(name: str) -> type[Command]:
    module = import_module(f"speechunits.cli.{name.replace('-', '_')}")
    return cast("type[Command]", getattr(module, name.title().replace("-", "")))


if __name__ == "__main__":
    main()
