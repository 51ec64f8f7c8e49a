"""What every benchmark's JSON tells of itself, so that docs/benchmarks.md can show it."""

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, cores, threads and versions; never the name of a host."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def about(seconds: float, *, seed: int | None = None, peer: str | None = None) -> dict[str, Any]:
    """Command, machine, seed and time of this process's benchmark, and the version of its peer.

    Args:
        seconds: That it took.
        seed: Of its random numbers.
        peer: Name of a package.
    """
    told = {"command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])}
    told |= {"machine": machine() | _version(peer), "minutes_in_all": round(seconds / 60, 1)}
    return told if seed is None else told | {"seed": seed}


def save(result: dict[str, Any], output: Path) -> None:
    """Writes a result, and makes its folder if need be."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def figure(value: Any) -> str:
    """A figure with three digits that count."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _version(package: str | None) -> dict[str, str]:
    try:
        return {package: version(package)} if package else {}
    except PackageNotFoundError:  # it lies in a folder that is no environment
        return {}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {platform.machine()}"
