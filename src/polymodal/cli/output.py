"""What the commands print: tables that lose no letter, whoever reads them."""

import sys
from typing import Any

WIDTH = 160
"""Letters of a line where there is no terminal, whose width would be known."""


def console(width: int = WIDTH) -> Any:
    """A console on the standard output, which prints names and texts of anybody as they are, without markup.

    Args:
        width: Letters of a line where there is no terminal.
    """
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width, markup=False, emoji=False)
