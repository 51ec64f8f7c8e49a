"""What the studio works on: a folder for its files, the open run, and the commands in work."""

import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polymodal.api import Generator, open_run
from polymodal.files import write_file
from polymodal.studio.processes import Job


class Workspace:
    """Belongs to whoever started the studio: all pages that are open see the same.

    Args:
        folder: Where uploads, tables and pages are kept.
        source: Of rows, that is shown first.
        run: Folder of a run, that is shown first.
        runs: Folder whose folders are runs.

    Attributes:
        train, fill, score: Commands in work.
        training: Folder of the run that ``train`` is or was about; empty if nothing was trained.
    """

    def __init__(self, folder: Path, *, source: str = "", run: str = "", runs: Path = Path("runs")):
        self.folder, self.source, self.run, self.runs = folder, source, run, runs
        folder.mkdir(parents=True, exist_ok=True)
        self.train, self.fill, self.score = (Job(folder / f"{name}.log") for name in ("train", "fill", "score"))
        self.training = ""
        self._lock = threading.Lock()
        self._open: tuple[str, float, Generator] | None = None

    def run_names(self) -> list[str]:
        """Folders of runs."""
        found = [str(path) for path in sorted(self.runs.glob("*")) if is_run(path)]
        return found + [self.run] * (bool(self.run) and self.run not in found)

    def open(self, run: str) -> Generator:
        """The model of a run, which stays open until it was trained further or another is asked for.

        Raises:
            CheckpointError: There is no run in the folder.
        """
        with self._lock:
            changed = max((path.stat().st_mtime for path in Path(run).glob("checkpoints/*")), default=0.0)
            if self._open is None or self._open[:2] != (run, changed):
                self._open = None  # two models need not fit into the memory
                self._open = (run, changed, open_run(run))
            return self._open[2]

    def keep(self, files: Sequence[Any]) -> str:
        """Copies files that were uploaded together into a folder of their own; the first table of them, or the first.

        Returns:
            Its path; that of the folder if there is no table among several files.
        """
        from polymodal.tables import TABLES

        home = Path(tempfile.mkdtemp(prefix="upload-", dir=self.folder))
        kept = [Path(shutil.copy(file, home / Path(file).name)) for file in files]
        tables = [path for path in kept if path.suffix.lower() in TABLES]
        return str(tables[0] if tables else kept[0] if len(kept) == 1 else home)

    def write(self, name: str, text: str) -> Path:
        """A file of the folder."""
        write_file(self.folder / name, text)
        return self.folder / name

    def close(self) -> None:
        """Stops all commands; what is in work is finished and kept."""
        for job in (self.train, self.fill, self.score):
            job.stop()
        for job in (self.train, self.fill, self.score):
            job.close()


def is_run(path: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    return (path / "checkpoints").is_dir() or (path / "config.json").is_file()
