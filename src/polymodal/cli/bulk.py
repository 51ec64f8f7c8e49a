"""Options of the commands that work on many tables, by as many processes as there are."""

from argparse import ArgumentParser, ArgumentTypeError, _ArgumentGroup
from typing import Any

_NAMES = ("engine", "address", "workers", "shard", "group_rows")


def add_engine(options: ArgumentParser | _ArgumentGroup) -> None:
    """Adds the options that say which machines do it."""
    options.add_argument(
        "--engine", choices=["local", "ray"], help="this process (local, the default), or a cluster of Ray"
    )
    options.add_argument("--address", metavar="HOST:PORT", help="of the cluster (default: one here, begun if need be)")


def add_bulk(options: _ArgumentGroup) -> None:
    """Adds the options that say who does it."""
    add_engine(options)
    options.add_argument(
        "--workers", metavar="COUNT", type=int, help="actors of Ray (default: as many as GPUs or cores)"
    )
    options.add_argument("--shard", metavar="I/N", type=shard, help="do every N-th group of rows, from the I-th on")
    options.add_argument("--group-rows", metavar="COUNT", type=int, help="rows of a group (default: 4096)")


def shard(text: str) -> tuple[int, int]:
    """``3/16`` as numbers."""
    place, slash, count = text.partition("/")
    if not (slash and place.isdecimal() and count.isdecimal()):
        raise ArgumentTypeError(f"'{text}' is no shard; 1/4 to 4/4 are those of four jobs")
    return int(place), int(count)


def bulk_of(args: Any) -> dict[str, Any]:
    """What was given, as of ``polymodal.bulk.share``, and ``group_rows``."""
    given = {name: value for name in _NAMES if (value := getattr(args, name, None)) is not None}
    return given | ({"device": args.device} if args.engine == "ray" and args.device else {})


def print_unread(done: Any) -> None:
    """Prints the first cells that could not be read, and how many more there are."""
    for rejection in done.rejected[:20]:
        print(f"left unchanged: {rejection}")
    if (more := len(done.rejected) - 20 + done.unlisted) > 0:
        print(f"and {more:,} more were left unchanged")
