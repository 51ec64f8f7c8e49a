"""Writes docs/benchmarks.md from the JSON files under benchmarks/results.

    python benchmarks/document.py

What is said of a benchmark is in sections.py; a JSON file of which nothing is said there gets plain tables.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from record import RESULTS, figure
from sections import NO_PEER, SECTIONS, Section

PAGE = RESULTS.parent.parent / "docs" / "benchmarks.md"
FACTS = {"command", "machine", "seed", "minutes_in_all", "versions", "bar", "bars"}
"""Keys that are no figures, or that are said elsewhere."""
HEAD = """# Benchmarks

`python benchmarks/document.py` makes this page from the JSON files in [benchmarks/results](../benchmarks/results).
Each section has the command that measures, the machine, what was wanted and what was reached, and what others do
better. Figures of quality are of held-out rows; times are process CPU time of one thread where nothing else is said.
"""
Record = tuple[str, dict[str, Any]]


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page as Markdown, of every benchmark's JSON by its name; those of which nothing is said come last."""
    ordered = [*(name for name in SECTIONS if name in results), *sorted(set(results) - set(SECTIONS))]
    return HEAD + "".join(section(name, results[name]) for name in ordered)


def section(name: str, result: Mapping[str, Any]) -> str:
    """A benchmark: command, machine, bars, figures, and what others do better."""
    said = SECTIONS.get(name) or Section(name.capitalize(), f"python benchmarks/{name}.py", "", "")
    lines = [f"\n## {said.title}\n"]
    lines += [f"{said.text}\n"] if said.text else []
    lines.append(f"```bash\n{result.get('command', said.command)}\n```\n")
    lines.append(f"{'; '.join(_circumstances(result))}.\n")
    if checked := said.checked(result):
        lines.append(_bars(checked))
    lines += _tables(result)
    if said.peer:
        alone = said.peer.startswith(NO_PEER)
        lines.append(said.peer + "\n" if alone else f"What the peer does better: {said.peer}\n")
    return "\n".join(lines)


def _circumstances(result: Mapping[str, Any]) -> list[str]:
    """Machine, seed and time."""
    told = []
    if isinstance(machine := result.get("machine"), Mapping):
        counts = (f"{machine['cores']} cores, {machine['threads']} used" if "cores" in machine else "").strip()
        versions = [f"{key} {value}" for key, value in machine.items() if key not in ("processor", "cores", "threads")]
        told.append(", ".join(filter(None, [machine.get("processor"), counts, *versions])))
    if "seed" in result:
        told.append(f"seed {result['seed']}")
    if "minutes_in_all" in result:
        told.append(f"{figure(result['minutes_in_all'])} minutes in all")
    return told


def _bars(checked: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [bar["what"], bar["wanted"], figure(bar["reached"]), "met" if bar["met"] else "**missed**"] for bar in checked
    ]
    return _table(["bar", "wanted", "reached", ""], rows)


def _tables(result: Mapping[str, Any]) -> list[str]:
    """Everything measured: like records, one after another, share a table; a single one is a sentence."""
    found = []
    for columns, records in groupby(_records(result), lambda record: list(record[1])):
        rows = list(records)
        if len(rows) == 1:
            label, values = rows[0]
            told = ", ".join(f"{_words(key)} {figure(value)}" for key, value in values.items())
            found.append(f"{label + ': ' if label else ''}{told}.\n")
        else:
            cells = [[label, *map(figure, values.values())] for label, values in rows]
            found.append(_table(["", *map(_words, columns)], cells))
    return found


def _records(value: Mapping[str, Any], place: tuple[str, ...] = ()) -> Iterator[Record]:
    """The mappings inside a mapping that hold figures, each with its place; lists of figures are left to the JSON."""
    kept = {key: item for key, item in value.items() if place or key not in FACTS}
    own = {key: item for key, item in kept.items() if isinstance(item, str | int | float)}
    if any(isinstance(item, int | float) for item in own.values()):
        yield ", ".join(place), own
    for key, item in kept.items():
        inner = place if key == "results" else (*place, _words(str(key)))
        for one in item if isinstance(item, list) else [item]:
            if isinstance(one, Mapping):
                yield from _records(one, inner)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not any(row[0] for row in rows):
        columns, rows = columns[1:], [row[1:] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows)]
    return "\n".join(lines) + "\n"


def _words(key: str) -> str:
    return key.replace("_", " ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PAGE)
    arguments = parser.parse_args()
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")}
    arguments.output.write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
