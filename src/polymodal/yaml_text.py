"""YAML as strangers write it: parsed to plain values, of bounded size, or refused in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from polymodal.errors import ConfigError

_MOST_BYTES, _MOST_PARTS, _MOST_DEPTH = 1 << 24, 100_000, 64


def parse_yaml(source: str | Path, where: str) -> Any:
    """What YAML of anybody's holds, given as a text or in a file. Its names for parts may not unfold without end.

    Raises:
        ConfigError: It cannot be read, is no YAML, or is far more than any recipe; the message starts with ``where``.
    """
    try:
        text = str(source)
        if isinstance(source, Path):
            if source.stat().st_size > _MOST_BYTES:
                raise ConfigError(f"{where}: has more than {_MOST_BYTES:,} bytes")
            text = source.read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError, LookupError) as error:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{where}: not valid YAML: nested too deeply") from None
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from None
    waiting, parts = [(tree, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        parts += 1
        if parts > _MOST_PARTS or depth > _MOST_DEPTH:
            raise ConfigError(f"{where}: unfolds to more than any recipe: over {_MOST_PARTS:,} parts, or without end")
        inner = [*part, *part.values()] if isinstance(part, dict) else part if isinstance(part, list) else ()
        waiting += [(one, depth + 1) for one in inner]
    return tree


def parse_override(text: str, option: str = "--set", example: str = "train.minutes=10") -> tuple[str, Any]:
    """``train.minutes=10`` -> ("train.minutes", 10); the value is YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"{option} {text}: not of the form key=value, such as {example}")
    return key.strip(), parse_yaml(value, f"{option} {text}")
