"""The runs that a server answers with: opened when they are asked for, closed again when memory is short."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from polymodal.api import Generator, open_run
from polymodal.embedding import AlignedEmbedder
from polymodal.errors import ConfigError
from polymodal.search import stored_embedder
from polymodal.serving.engine import Engine
from polymodal.serving.errors import ApiError
from polymodal.serving.roles import Roles


@dataclass
class Run:
    """A run that is open.

    Attributes:
        name: By which requests ask for it.
        engine: The thread that owns its model.
        roles: What its fields are on OpenAI's routes.
        used: When it was last asked for, by ``time.monotonic``.
    """

    name: str
    engine: Engine
    roles: Roles
    used: float = 0.0

    @property
    def pipeline(self) -> Generator:
        return self.engine.pipeline

    @cached_property
    def embedder(self) -> AlignedEmbedder:
        """What embeds values of its aligned fields, with the moments that a search has stored in the run.

        Raises:
            ApiError: The run has no alignment, or was never searched.
        """
        try:
            found = stored_embedder(self.pipeline.model, self.pipeline.run)
        except ConfigError as error:
            raise ApiError(400, str(error), param="model") from None
        if found is None:
            raise ApiError(
                400, "model: this run has no index; its owner makes one by `polymodal search RUN ...`", param="model"
            )
        return found

    @property
    def memory_bytes(self) -> int:
        """Of its weights."""
        return sum(p.numel() * p.element_size() for p in self.pipeline.model.parameters())


class Runs:
    """Runs by name.

    Args:
        folders: Their folders by name; the first one answers where ``any_model`` is set and the name is not known.
        roles: Fields by role, for all of them.
        any_model: Whether an unknown name is answered by the first run, for clients that insist on names of their own.
        most_bytes: Of weights that are held open; the run that was used longest ago is closed first. One always is.
        idle_seconds: A run that was asked for since then is not closed: a request may still be about to use it.
        device: Where models compute.
        engine: Makes the engine of a model.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        *,
        roles: Mapping[str, str] | None = None,
        any_model: bool = False,
        most_bytes: int = 8 << 30,
        idle_seconds: float = 120.0,
        device: str | None = None,
        engine: Callable[[Generator], Engine] = Engine,
    ):
        self.folders, self.roles, self.any_model = dict(folders), dict(roles or {}), any_model
        self.most_bytes, self.idle_seconds, self.device, self._engine = most_bytes, idle_seconds, device, engine
        self.started = int(time.time())
        self._open: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, name: str | None) -> str:
        """The name of the run that a request means.

        Raises:
            ApiError: There is none.
        """
        if name in self.folders:
            return str(name)
        if (name is None and len(self.folders) == 1) or self.any_model:
            return next(iter(self.folders))
        known = ", ".join(self.folders)
        raise ApiError(404, f"model: there is no '{name}'; there are {known}", param="model", code="model_not_found")

    def open(self, name: str | None) -> Run:
        """The run that a request means, opened if it is not; others may be closed for it. Blocks.

        Raises:
            ApiError: There is none.
            CheckpointError: Its folder cannot be read.
            ConfigError: It lacks a field that was chosen.
        """
        name = self.find(name)
        with self._lock:
            if name not in self._open:
                pipeline = open_run(self.folders[name], device=self.device)
                roles = Roles.of(pipeline, self.roles)
                self._open[name] = Run(name, self._engine(pipeline), roles)
            self._open.move_to_end(name)
            self._open[name].used = time.monotonic()
            self._evict(name)
            return self._open[name]

    def _evict(self, kept: str) -> None:
        """Closes idle runs, the one used longest ago first, until the others fit."""
        for name in list(self._open):
            if sum(run.memory_bytes for run in self._open.values()) <= self.most_bytes:
                return
            idle = time.monotonic() - self._open[name].used >= self.idle_seconds
            if name != kept and idle and not self._open[name].engine.waiting:
                self._open.pop(name).engine.close()

    @property
    def opened(self) -> list[Run]:
        """Those that are open."""
        return list(self._open.values())

    def close(self) -> None:
        """Finishes what was asked for, and closes all."""
        with self._lock:
            for run in self._open.values():
                run.engine.close()
            self._open.clear()
