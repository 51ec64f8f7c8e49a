"""Arguments of the commands. A wrong one is a ``ConfigError``, so that every mistake is reported in one line."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from polymodal.errors import ConfigError, unknown

Commands = Any
"""What ``ArgumentParser.add_subparsers`` gives."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows the default of an option behind its help."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default not in (None, [], argparse.SUPPRESS) and action.default is not False
        return f"{action.help} (default: %(default)s)" if shown else action.help


class Parser(argparse.ArgumentParser):
    """Accepts no abbreviations, and raises in place of printing its usage."""

    def __init__(self, *args: Any, **settings: Any):
        settings.setdefault("formatter_class", _Formatter)
        super().__init__(*args, **{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Raises a ``ConfigError``, where argparse prints its usage and exits."""
        command = self.prog.partition(" ")[2]
        raise ConfigError(f"{command}: {message} (see {self.prog} --help)" if command else message)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The parsed arguments; the error for an unknown option names the nearest known one.

        Raises:
            ConfigError: An argument is wrong.
        """
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            known: Parser = getattr(parsed, "parser", self)
            options = [option for option in known._option_string_actions if option.startswith("--")]
            first = rest[0].partition("=")[0]
            known.error(
                unknown("option", first, options) if first.startswith("-") else f"'{first}' is one argument too many"
            )
        return parsed


def add_command(
    commands: Commands, name: str, run: Callable[[Any], int | None], *, summary: str, details: str, examples: str
) -> Parser:
    """A command that ``run`` carries out.

    Args:
        commands: Where it is added.
        name: As typed.
        run: Called with the parsed arguments; gives the exit status, None for 0.
        summary: One line for the list of commands.
        details: A paragraph for its help.
        examples: Lines as typed, for its help.
    """
    lines = "\n".join(f"  {line}" for line in examples.strip().splitlines())
    parser: Parser = commands.add_parser(
        name, help=summary, description=f"{summary}\n\n{details.strip()}", epilog=f"examples:\n{lines}"
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_device(parser: Parser) -> None:
    """Adds ``--device``."""
    parser.add_argument("--device", metavar="NAME", help="where to compute: cpu, cuda, cuda:1 (default: a GPU if any)")
