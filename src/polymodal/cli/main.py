"""``polymodal``: one command, many verbs."""

import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from polymodal import __version__, stopping
from polymodal.cli import (
    audit,
    calibrate,
    compare,
    data,
    embed,
    evaluate,
    explain,
    export,
    fill,
    generate,
    info,
    judge,
    merge,
    package,
    prior,
    quantise,
    recipes,
    search,
    serve,
    studio,
    train,
)  # fmt: skip
from polymodal.cli.parser import Parser
from polymodal.errors import ConfigError, PolymodalError, TrainingError
from polymodal.progress import messages_shown

_COMMANDS = (
    train, generate, fill, calibrate, embed, search, explain, evaluate, compare, audit, judge, prior, info, data,
    recipes, package, export, merge, quantise, serve, studio,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: As typed, without the program's name; None for the process's own.

    Returns:
        0, or 2 after a mistake of the user, 1 where the system refused or training diverged, 130 after Ctrl-C,
        143 after SIGTERM, 129 after SIGHUP.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):  # a letter that the console does not have is shown by its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signals = stopping.handle_signals(to_the_end=argv is None)
    with warnings.catch_warnings(), messages_shown(always=True), signals:
        warnings.showwarning = _show_warning
        try:
            if any("\0" in word for word in arguments):
                raise ConfigError("a zero byte is no part of a name")
            parsed = _parser(arguments).parse_args(arguments)
            with stopping.as_stopped():
                return parsed.run(parsed) or 0
        except TrainingError as error:
            return _fail(error, 1)
        except PolymodalError as error:
            return _fail(error, 2)
        except BrokenPipeError:  # the reader of our output has gone, as `| head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            return _fail(error, 1)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
                raise
            return _fail(MemoryError("there is not enough memory; a smaller width, size or batch_size needs less"), 1)
        except KeyboardInterrupt as interrupt:
            resumes = arguments[:1] in (["train"], ["fill"], ["embed"], ["evaluate"])
            print(f"polymodal: stopped{'; the same command continues' * resumes}", file=sys.stderr)
            return interrupt.status if isinstance(interrupt, stopping.Stopped) else 130


def _parser(arguments: list[str]) -> Parser:
    parser = Parser(
        prog="polymodal",
        description="Train one model on rows of aligned data, with any cells missing,\n"
        "and generate any field of a row from any others.",
        epilog="`polymodal COMMAND --help` explains a command; docs/glossary.md defines the terms.\n\n"
        "exit status: 0; 1 if the system refused (a full disk) or training diverged; 2 after a mistake in what was\n"
        "given; 130, 143, 129 after Ctrl-C, SIGTERM, SIGHUP: `train`, `fill`, `embed` and `evaluate` finish and keep\n"
        "what is in work, and the same command continues. A second signal stops at once.\n\n"
        "start here:\n"
        "  polymodal data inspect emoji:concepts=200          what is in a data set\n"
        "  polymodal train any-to-any --data emoji:concepts=200 --minutes 10 -o runs/mine\n"
        "  polymodal generate runs/mine --name 'red apple' --to picture -o out",
    )
    parser.add_argument("--version", action="version", version=f"polymodal {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for command in _COMMANDS:
        command.add(commands, arguments)
    return parser


def _fail(error: Exception, status: int) -> int:
    print(f"polymodal: error: {'; '.join(str(error).splitlines())}", file=sys.stderr)
    return status


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Shows our warnings in one line; those of libraries are for developers."""
    if category is UserWarning:
        print(f"polymodal: warning: {message}", file=sys.stderr)
