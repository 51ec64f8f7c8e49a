"""The built-in data set ``packages``: short and long descriptions of Debian's packages, their sections, translations.

Read from the lists that apt keeps, or from a file such as ``apt-cache dumpavail`` prints; nothing is downloaded. Where
apt is told to leave descriptions out, as in many containers, a folder of lists with them is made by
``apt-get -o Acquire::Languages=en,fr -o Dir::State::Lists=FOLDER update``.

Splits. Packages that are built from one source describe themselves in nearly the same words: they are one ``group``,
which is in one split: a hash of the group decides, 15 % of them being ``test`` and 5 % ``validation``. A long
description that another package has as well is there once.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from polymodal.data.build_dataset import assembled, check, fraction, identify
from polymodal.data.packages.lists import LISTS, Package, find, read_packages
from polymodal.files import file_sha256

__all__ = ["FIELDS", "build", "split_of"]

FIELDS = {
    "short": {"modality": "text", "max_length": 88},
    "long": {"modality": "text", "max_length": 608},
    "section": {"modality": "label"},
}
"""What the columns are made of, as a recipe would say it."""

CREDIT = "descriptions: the maintainers of Debian's packages and its translators, each under its package's licence"
_FORMAT = 1  # raise it when the same options give other rows
_TEST, _VALIDATION = 0.15, 0.05
_MOST_SHORT_BYTES, _FEWEST_LONG_BYTES = 87, 40

_check = partial(check, "packages")
_log = logging.getLogger(__name__)


def build(
    cache: Path,
    *,
    folder: str | None = None,
    languages: Sequence[str] = (),
    most_bytes: int = 607,
    packages: int | None = None,
) -> Path:
    """Builds the data set once and returns its folder.

    The folder has ``rows.parquet`` (columns ``package``, ``short``, ``long``, ``section``, ``group``, ``split``;
    ``short_fr``, ``long_fr`` and so on, missing where there is no translation) and ``credits.json``.

    Args:
        cache: Where built data sets are kept, one folder for each set of options and content of the lists.
        folder: Folder of lists, or a file. None: where apt keeps them.
        languages: Languages of translations, such as ``fr`` or ``pt_BR``; packages without any are left out.
        most_bytes: Of a long description, in UTF-8; packages with a longer one are left out.
        packages: Take so many, evenly over all. None: all.

    Raises:
        DataError: There are no lists, they have no long descriptions, or an option is out of range.
    """
    _check("most_bytes", most_bytes >= _FEWEST_LONG_BYTES, f"{most_bytes}; at least {_FEWEST_LONG_BYTES}")
    _check("packages", packages is None or packages >= 10, f"{packages}; at least 10")
    _check(
        "languages", all(one.replace("_", "").isalpha() for one in languages), f"{list(languages)}; such as [fr, de]"
    )
    files = find(Path(folder).expanduser() if folder else LISTS)
    options = {"languages": list(languages), "most_bytes": most_bytes, "packages": packages}
    target = cache / f"packages-{packages or 'all'}-{identify(_FORMAT, options, [file_sha256(file) for file in files])}"
    if target.exists():
        return target
    chosen = _chosen(read_packages(files), languages, most_bytes)
    _check(
        "folder",
        bool(chosen),
        f"{folder or LISTS}; its lists have no long descriptions{f' in {list(languages)}' if languages else ''}: make "
        "a folder of lists that have, by apt-get -o Acquire::Languages=en -o Dir::State::Lists=FOLDER update",
    )
    if packages is not None:
        _check("packages", packages <= len(chosen), f"{packages}; from 10 to {len(chosen):,}")
        chosen = sorted(chosen, key=lambda one: fraction("package", one.name))[:packages]
    with assembled(target) as (_, finished):
        _log.info("building the packages data set: %d packages", len(chosen))
        (finished / "credits.json").write_text(json.dumps({"options": options, "credit": CREDIT}, indent=2))
        _write(chosen, languages, finished / "rows.parquet")
    return target


def _chosen(packages: Sequence[Package], languages: Sequence[str], most_bytes: int) -> list[Package]:
    """Those with descriptions of a fit length, each long one once; with languages, those with any translation."""
    found: dict[str, Package] = {}
    for package in packages:
        short, long = package.texts.get("en", ("", ""))
        fits = 0 < len(short.encode()) <= _MOST_SHORT_BYTES and _FEWEST_LONG_BYTES <= len(long.encode()) <= most_bytes
        if fits and (not languages or package.texts.keys() & set(languages)):
            found.setdefault(long, package)
    return list(found.values())


def split_of(source: str) -> str:
    """The split of the packages that are built from one source."""
    place = fraction("source", source)
    return "test" if place < _TEST else "validation" if place < _TEST + _VALIDATION else "train"


def _write(packages: Sequence[Package], languages: Sequence[str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for package in packages:
        short, long = package.texts["en"]
        row: dict[str, Any] = {"package": package.name, "short": short, "long": long, "section": package.section}
        for language in languages:
            row[f"short_{language}"], row[f"long_{language}"] = package.texts.get(language, (None, None))
        rows.append(row | {"group": package.source, "split": split_of(package.source)})
    schema = pa.schema({column: pa.string() for column in rows[0]})
    pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")
