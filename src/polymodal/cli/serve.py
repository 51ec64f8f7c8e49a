"""``polymodal serve``."""

import ipaddress
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from polymodal import stopping
from polymodal.cli.parser import Commands, add_command
from polymodal.errors import ConfigError


def add(commands: Commands, arguments: list[str]) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "serve",
        run,
        summary="Serve finished runs over HTTP.",
        details="Clients of OpenAI's API work as they are: pictures, speech, transcriptions, chat, responses and\n"
        "embeddings; /v1/generate and /v1/fill give all that a run can do, and /openapi.json lists everything.\n"
        "A run's name is that of its folder; NAME=FOLDER gives another. The same seed gives the same bytes, whatever\n"
        "else is asked at the same time. SIGTERM finishes what was begun.",
        examples="""
polymodal serve runs/mine
polymodal serve small=runs/a large=runs/b --host 0.0.0.0 --api-key-file keys.txt
curl localhost:8000/v1/images/generations -H 'content-type: application/json' -d '{"prompt": "red apple"}'
""",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folders of runs, or NAME=FOLDER")
    parser.add_argument(
        "--adapter",
        metavar="RUN:NAME=FOLDER",
        nargs="+",
        default=[],
        help="runs that share a pretrained network with one of these, which requests name RUN:NAME",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen at; 0 for any that is free")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="a file with a key in each line")
    parser.add_argument(
        "--map", metavar="ROLE=FIELD", nargs="+", default=[], help="fields that are prompt, answer, image or sound"
    )
    parser.add_argument("--any-model", action="store_true", help="answer for unknown names of models by the first run")
    parser.add_argument(
        "--sign",
        type=Path,
        nargs=2,
        metavar=("CERTIFICATES", "KEY"),
        help="PEM files with which pictures, sound and clips are signed as made by this run (C2PA)",
    )
    parser.add_argument("--refuse-copies", action="store_true", help="withhold near-copies of the training rows")
    parser.add_argument(
        "--data",
        metavar="RUN=SOURCE",
        nargs="+",
        default=[],
        help="where the training rows of a run, or RUN:NAME, are, for --refuse-copies; SOURCE alone for a single run",
    )
    parser.add_argument("--allow-urls", action="store_true", help="fetch pictures that requests name, if public")
    parser.add_argument("--device", help="where models compute, such as cuda or cpu")
    parser.add_argument("--batch-rows", type=int, default=8, help="samples that are computed together")
    parser.add_argument("--most-waiting", type=int, default=256, help="samples that may wait; more are refused")
    parser.add_argument("--most-seconds", type=float, default=120.0, help="after which a request is given up")
    parser.add_argument("--most-body-mb", type=float, default=32.0, help="megabytes of the largest request")
    parser.add_argument("--memory-gb", type=float, default=8.0, help="weights that are held open, in gigabytes")


def run(args: Any) -> None:
    """Serves until it is stopped."""
    try:
        import uvicorn

        from polymodal.serving import Addresses, Engine, Figures, Runs, Signer, make_app
    except ImportError as error:
        raise ConfigError(
            f"serve: the package {error.name} is not installed; `pip install 'polymodal[serve]'`"
        ) from None
    keys = _keys(args.api_key_file)
    if not keys and not _is_loopback(args.host):
        raise ConfigError(f"--host {args.host}: is open to others; give --api-key-file, or listen at 127.0.0.1")
    for name in ("batch_rows", "most_waiting", "most_seconds", "most_body_mb", "memory_gb"):
        if getattr(args, name) <= 0:
            raise ConfigError(f"--{name.replace('_', '-')} {getattr(args, name):g}: must be above 0")
    if args.data and not args.refuse_copies:
        raise ConfigError("--data: is read for --refuse-copies, which is not given")
    figures, most_body_bytes = Figures(), int(args.most_body_mb * 1e6)
    folders, adapters = _folders(args.runs), _adapters(args.adapter)

    def engine(pipeline: Any) -> Engine:
        return Engine(
            pipeline,
            batch_rows=args.batch_rows,
            most_waiting=args.most_waiting,
            watch=figures.sampled,
        )

    runs = Runs(
        folders,
        roles=dict(_pair(text, "--map", "prompt=name") for text in args.map),
        any_model=args.any_model,
        most_bytes=int(args.memory_gb * (1 << 30)),
        device=args.device,
        engine=engine,
        signer=Signer(*args.sign) if args.sign else None,
        adapters=adapters,
        refuse_copies=args.refuse_copies,
        data=_data(args.data, list(folders)),
    )
    runs.open(next(iter(runs.folders)))  # what is wrong with it is said before anything listens
    app = make_app(
        runs,
        figures,
        keys=keys,
        most_body_bytes=most_body_bytes,
        most_seconds=args.most_seconds,
        fetch=Addresses(most_body_bytes) if args.allow_urls else None,
    )
    server = uvicorn.Server(uvicorn.Config(app, host=args.host, port=args.port, log_level="warning", access_log=False))
    listening = server.config.bind_socket()
    print(f"{', '.join(runs.folders)}: http://{args.host}:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
    with suppress(stopping.Stopped):  # all that was begun is finished: as it should be
        server.run(sockets=[listening])


def _folders(texts: list[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for text in texts:
        name, equals, place = text.partition("=")
        folder = Path(place if equals and not Path(text).exists() else text)
        name = name if equals and not Path(text).exists() else folder.resolve().name
        if name in folders:
            raise ConfigError(f"{text}: another run is called '{name}'; write NAME={folder}")
        if not folder.is_dir():
            raise ConfigError(f"{text}: there is no folder {folder}")
        folders[name] = folder
    return folders


def _adapters(texts: list[str]) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    for text in texts:
        name, place = _pair(text, "--adapter", "RUN:NAME=FOLDER")
        run, colon, adapter = name.rpartition(":")
        if not (colon and run and adapter):
            raise ConfigError(f"--adapter {text}: is not of the form RUN:NAME=FOLDER")
        if not Path(place).is_dir():
            raise ConfigError(f"--adapter {text}: there is no folder {place}")
        found.setdefault(run, {})[adapter] = Path(place)
    return found


def _data(texts: list[str], runs: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, source = text.partition("=")
        if equals and name.partition(":")[0] in runs:
            found[name] = source
        elif len(runs) == 1:  # an equals sign may be one of the source's own, as in emoji:concepts=200
            found[runs[0]] = text
        else:
            raise ConfigError(f"--data {text}: is not of the form RUN=SOURCE, with one of {', '.join(runs)} as RUN")
    return found


def _keys(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        keys = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"--api-key-file {file}: cannot be read: {error}") from None
    if not keys:
        raise ConfigError(f"--api-key-file {file}: has no key; write one in each line")
    return keys


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{option} {text}: is not of the form {example}")
    return name, value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
