"""What every benchmark's JSON tells of itself, so that docs/benchmarks.md can show it."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
OTHERS_SHARE = 0.05
"""Of the processor's time that others may use during a benchmark; its times are doubtful beyond."""


def commit() -> str | None:
    """The version that is measured: a commit, with ``+`` where the code differs from it; None outside a repository."""
    code = ["src", "benchmarks/*.py", "examples"]
    asked = (["rev-parse", "--short=10", "HEAD"], ["status", "--porcelain", "--", *code])
    try:
        head, changes = (
            subprocess.run(["git", *words], cwd=RESULTS.parents[1], capture_output=True, text=True, check=True).stdout
            for words in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.strip() + "+" * bool(changes)


def _spent() -> tuple[float, float] | None:
    """Seconds of all cores so far that anybody used, and that this process and its ended children did."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:  # not Linux
        return None
    user, nice, system, _, _, interrupts, soft, stolen = map(int, words[:8])
    own = sum(os.times()[:4])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK"), own


_BEGUN = _spent(), os.times().elapsed


def others_share() -> float | None:
    """Share of the machine's time that others used since this module was imported; None where that is not known."""
    begun, now = _BEGUN[0], _spent()
    if begun is None or now is None:
        return None
    everybody, own = now[0] - begun[0], now[1] - begun[1]
    passed = (os.times().elapsed - _BEGUN[1]) * (os.cpu_count() or 1)
    return max(0.0, everybody - own) / max(passed, 1e-9)


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
    told |= {"commit": commit()}
    if (share := others_share()) is not None:
        told |= {"share_of_others": round(share, 3)}
        if share > OTHERS_SHARE:
            print(f"warning: others used {share:.0%} of the machine; times of this run are doubtful", file=sys.stderr)
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
