"""Writes docs/benchmarks.md from the JSON files under benchmarks/results.

    python benchmarks/document.py

The text and the bars of each benchmark are in sections.py; a JSON file without an entry there gets plain tables. The
measurements behind the decisions of docs/adr are in decisions.md, which is appended as it is.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from record import OTHERS_SHARE, RESULTS, figure
from sections import NO_PEER, SECTIONS, Section

PAGE = RESULTS.parent.parent / "docs" / "benchmarks.md"
DECISIONS = RESULTS.parent / "decisions.md"
FACTS = {
    "calls", "command", "commit", "machine", "seed", "minutes_in_all", "share_of_others", "versions", "bar", "bars"
}  # fmt: skip
"""Keys that are no figures, or that the page shows elsewhere."""
HEAD = """# Benchmarks

`python benchmarks/document.py` makes this page from the JSON files in [benchmarks/results](../benchmarks/results) and
from `benchmarks/decisions.md`. Each section has the command that measures, the machine, the bars with what was reached
(missed ones included), all figures, and what other libraries do better. Figures of quality are of held-out rows; times
are process CPU time of one thread unless the section says otherwise. [The glossary](glossary.md) defines the terms.
"""
Record = tuple[str, dict[str, Any]]


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page as Markdown, from each benchmark's JSON by name: in the order of ``SECTIONS``, then all others."""
    ordered = [*(name for name in SECTIONS if name in results), *sorted(set(results) - set(SECTIONS))]
    sections = "".join(section(name, results[name]) for name in ordered)
    return HEAD + sections + DECISIONS.read_text(encoding="utf-8")


def section(name: str, result: Mapping[str, Any]) -> str:
    """A benchmark: command, machine, bars, figures, and what others do better."""
    entry = SECTIONS.get(name) or Section(name.capitalize(), f"python benchmarks/{name}.py", "", "")
    lines = [f"\n## {entry.title}\n"]
    lines += [f"{entry.text}\n"] if entry.text else []
    lines.append(f"```bash\n{result.get('command', entry.command)}\n```\n")
    lines.append(f"{'; '.join(_circumstances(result))}.\n")
    if checked := entry.checked(result):
        lines.append(_bars(checked))
    lines += _tables(result)
    if entry.peer:
        alone = entry.peer.startswith(NO_PEER)
        lines.append(entry.peer + "\n" if alone else f"What the peer does better: {entry.peer}\n")
    return "\n".join(lines)


def _circumstances(result: Mapping[str, Any]) -> list[str]:
    """Machine, seed and time."""
    facts = []
    if isinstance(machine := result.get("machine"), Mapping):
        counts = (f"{machine['cores']} cores, {machine['threads']} used" if "cores" in machine else "").strip()
        versions = [f"{key} {value}" for key, value in machine.items() if key not in ("processor", "cores", "threads")]
        facts.append(", ".join(filter(None, [machine.get("processor"), counts, *versions])))
    if "seed" in result:
        facts.append(f"seed {result['seed']}")
    if "minutes_in_all" in result:
        facts.append(f"{figure(result['minutes_in_all'])} minutes in all")
    facts.append(f"version {result['commit']}" if result.get("commit") else "an earlier version, not recorded")
    if result.get("share_of_others", 0) > OTHERS_SHARE:
        facts.append(f"**others used {result['share_of_others']:.0%} of the machine**")
    return facts


def _bars(checked: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [bar["what"], bar["wanted"], figure(bar["reached"]), "met" if bar["met"] else "**missed**"] for bar in checked
    ]
    return _table(["bar", "wanted", "reached", ""], rows)


def _tables(result: Mapping[str, Any]) -> list[str]:
    """Everything measured: consecutive records with the same keys share a table; a single record is a sentence."""
    found = []
    for columns, records in groupby(_records(result), lambda record: list(record[1])):
        rows = list(records)
        if len(rows) == 1:
            label, values = rows[0]
            figures = ", ".join(f"{_words(key)} {figure(value)}" for key, value in values.items())
            found.append(f"{label + ': ' if label else ''}{figures}.\n")
        else:
            cells = [[label, *map(figure, values.values())] for label, values in rows]
            found.append(_table(["", *map(_words, columns)], cells))
    return found


def _records(value: Mapping[str, Any], place: tuple[str, ...] = ()) -> Iterator[Record]:
    """The mappings inside a mapping that hold figures, each with its place; lists of figures are left to the JSON."""
    kept = {key: item for key, item in value.items() if place or key not in FACTS}
    figures = {key: item for key, item in kept.items() if isinstance(item, str | int | float)}
    if any(isinstance(item, int | float) for item in figures.values()):
        yield ", ".join(place), figures
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
