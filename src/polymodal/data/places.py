"""Places of data that were named on this machine. What only a run names is not opened, since a run may be anybody's."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from polymodal.data.sources import builtin
from polymodal.errors import DataError
from polymodal.files import short_digest


def place_of(source: Any) -> str | None:
    """A source's name, from any folder; None if it has none."""
    if not isinstance(source, str | Path):
        return None
    path = Path(source).expanduser()
    try:
        return str(path.resolve() if path.exists() else source)
    except (OSError, ValueError, RuntimeError):  # no path at all
        return str(source)


def remember(source: Any, cache: Path) -> None:
    """Notes that the user has named a source."""
    if (place := place_of(source)) is not None:
        with suppress(OSError):
            note = _note(place, cache)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()


def is_known(source: str, cache: Path) -> bool:
    """Whether a source was named on this machine, or is a built-in data set.

    One with options has to be named as well: they may read a folder of this machine, or take all of its processors.
    """
    return source in builtin.BUILTIN or _note(place_of(source) or source, cache).exists()


def check_known(source: str | None, cache: Path) -> None:
    """Refuses the source of a run, if it has one that is not known.

    Raises:
        DataError: It is such a one.
    """
    if source and not is_known(source, cache):
        raise DataError(
            f"the run says that its data are '{source}', which were never named on this machine; if you trust the run, "
            f"name them: --data '{source}', or data('{source}') in Python"
        )


def _note(place: str, cache: Path) -> Path:
    return cache / "places" / short_digest(place.encode(errors="surrogateescape"))
