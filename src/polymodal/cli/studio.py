"""``polymodal studio``."""

import sys
from pathlib import Path
from typing import Any

from polymodal.cli.parser import Commands, add_command
from polymodal.errors import ConfigError


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "studio",
        run,
        summary="Look at data, train, generate, fill and score in a browser.",
        details="The pages are served to this machine alone, in English and Chinese, and fetch nothing from the\n"
        "network. Every button shows the command that does the same. Commands run as processes of their own; Ctrl-C\n"
        "stops them too, and they finish and keep what is in work.",
        examples="""
polymodal studio
polymodal studio rows.jsonl
polymodal studio runs/mine --port 7861
""",
    )
    parser.add_argument("place", metavar="RUN | TABLE", nargs="?", help="the folder of a run, or a source of rows")
    parser.add_argument("--port", type=int, default=7860, help="the port to listen at")
    parser.add_argument(
        "--folder", type=Path, default=Path("studio"), help="where uploads, tables and pages of the studio are kept"
    )


def run(args: Any) -> None:
    """Serves until it is stopped."""
    try:
        import uvicorn

        from polymodal.studio.app import HOST, make_app
    except ImportError as error:
        raise ConfigError(
            f"studio: the package {error.name} is not installed; `pip install 'polymodal[studio]'`"
        ) from None
    from polymodal.studio.workspace import Workspace, is_run

    opened = args.place is not None and is_run(Path(args.place))
    work = Workspace(args.folder, **({"run" if opened else "source": args.place} if args.place else {}))
    print(f"http://{HOST}:{args.port}", file=sys.stderr)
    uvicorn.run(make_app(work), host=HOST, port=args.port, log_level="warning", access_log=False)
