"""The runs that a server answers with: opened when they are asked for, closed again when memory is short.

Runs that share a pretrained network with another are its adapters: ``run:adapter`` is answered by the same model.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from PIL import Image as PILImage

from polymodal.api import Generator, open_run
from polymodal.checkpoint import digest_of
from polymodal.embedding import AlignedEmbedder
from polymodal.errors import ConfigError, DataError
from polymodal.modalities.audio import Waveform
from polymodal.search import stored_embedder
from polymodal.serving.adapters import find_adapters, load_adapter
from polymodal.serving.copies import Copies
from polymodal.serving.engine import Engine
from polymodal.serving.errors import ApiError
from polymodal.serving.media import PICTURES, SOUNDS, picture_bytes, sound_bytes
from polymodal.serving.provenance import Sign, Signer, unsigned
from polymodal.serving.roles import Roles


@dataclass
class Run:
    """A run that is open.

    Attributes:
        name: By which requests ask for it.
        pipeline: The run itself; that of an adapter has the model of the run that it belongs to.
        engine: The thread that owns its model.
        roles: What its fields are on OpenAI's routes.
        adapter: Which of the engine's adapters the model wears for it.
        adapters: Those that belong to it, by name.
        used: When it was last asked for, by ``time.monotonic``.
        sign: Puts what is to be said of a file into it.
    """

    name: str
    pipeline: Generator
    engine: Engine
    roles: Roles
    adapter: str = ""
    adapters: dict[str, Run] = field(default_factory=dict)
    used: float = 0.0
    sign: Sign = unsigned

    def picture(self, picture: PILImage.Image, kind: str, size: str | None = None, quality: int = 95) -> bytes:
        """As ``picture_bytes``, signed."""
        return self.sign(picture_bytes(picture, kind, size, quality), PICTURES[kind])

    def sound(self, sound: Waveform, kind: str, speed: float = 1.0) -> bytes:
        """As ``sound_bytes``, signed."""
        return self.sign(sound_bytes(sound, kind, speed), SOUNDS[kind])

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
        """Of its weights, and of those of its adapters and their like of its own."""
        return sum(p.nbytes for p in self.pipeline.model.parameters()) + self.engine.adapter_bytes


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
        signer: Signs what is generated, if anything does.
        adapters: By run, folders of adapters by name, beside those that lie in the run's own folder.
        refuse_copies: Whether near-copies of what a run or its adapter was trained on are withheld; see ``Copies``.
        data: Sources of these rows, by run or ``run:adapter``, where they are no longer as the run names them.

    Raises:
        ConfigError: An adapter, or data, are of a run that there is not.
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
        signer: Signer | None = None,
        adapters: Mapping[str, Mapping[str, Path]] | None = None,
        refuse_copies: bool = False,
        data: Mapping[str, str] | None = None,
    ):
        self.folders, self.roles, self.any_model = dict(folders), dict(roles or {}), any_model
        self.most_bytes, self.idle_seconds, self.device, self._engine = most_bytes, idle_seconds, device, engine
        self.started, self.signer, self.refuse_copies = int(time.time()), signer, refuse_copies
        self.data = dict(data or {})
        if unknown := sorted((adapters or {}).keys() - self.folders.keys()):
            raise ConfigError(f"adapter: there is no run '{unknown[0]}'; there are {', '.join(self.folders)}")
        self.adapters = {
            name: find_adapters(folder) | dict((adapters or {}).get(name, {})) for name, folder in self.folders.items()
        }
        self._adapted = {f"{name}:{each}": (name, each) for name, its in self.adapters.items() for each in its}
        if unknown := sorted(self.data.keys() - {*self.names}):
            raise ConfigError(f"data: there is no run '{unknown[0]}'; there are {', '.join(self.names)}")
        self._open: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()
        self._opening = {name: threading.Lock() for name in self.folders}

    def find(self, name: str | None) -> str:
        """The name of the run, or ``run:adapter``, that a request means.

        Raises:
            ApiError: There is none.
        """
        if name in self.folders or name in self._adapted:
            return str(name)
        if (name is None and len(self.folders) == 1) or self.any_model:
            return next(iter(self.folders))
        known = ", ".join(self.names)
        raise ApiError(404, f"model: there is no '{name}'; there are {known}", param="model", code="model_not_found")

    @property
    def names(self) -> list[str]:
        """All that requests can name: each run, then its adapters."""
        adapted = {name: [each for each, (run, _) in self._adapted.items() if run == name] for name in self.folders}
        return [each for name in self.folders for each in (name, *adapted[name])]

    def open(self, name: str | None) -> Run:
        """The run that a request means, opened if it is not; others may be closed for it. Blocks.

        Whoever asks for a run that is open does not wait for one that is being opened or closed.

        Raises:
            ApiError: There is none.
            CheckpointError: Its folder, or that of an adapter, cannot be read.
            ConfigError: It lacks a field that was chosen, an adapter does not fit it, or it does not know what it was
                trained on where near-copies of that are withheld.
            DataError: What it was trained on cannot be read where near-copies of that are withheld.
        """
        run, adapter = self._adapted.get(found := self.find(name), (found, ""))
        base = self._opened_or_open(run)
        return base.adapters[adapter] if adapter else base

    def _opened_or_open(self, name: str) -> Run:
        with self._lock:
            if name in self._open:
                return self._touch(name)
        with self._opening[name]:
            if name not in self._open:
                run = self._opened(name)
                with self._lock:
                    self._open[name] = run
            with self._lock:
                run, idle = self._touch(name), self._take_idle(name)
        for other in idle:
            other.engine.close()
        return run

    def _opened(self, name: str) -> Run:
        pipeline = open_run(self.folders[name], device=self.device)
        loaded = {each: load_adapter(pipeline, folder) for each, folder in self.adapters[name].items()}
        roles = Roles.of(pipeline, self.roles)
        adapters = {each: copy(pipeline) for each in loaded}
        for adapter, own in adapters.items():
            own.run, own.recipe, own.training = self.adapters[name][adapter], loaded[adapter][1], None
        copies = self._copies(name, pipeline, adapters) if self.refuse_copies else None
        run = Run(name, pipeline, self._engine(pipeline), roles)
        run.engine.adopt(
            {adapter: weights for adapter, (weights, _) in loaded.items()},
            {adapter: recipe for adapter, (_, recipe) in loaded.items()},
        )
        run.engine.withhold = copies.check if copies else run.engine.withhold
        for adapter, own in adapters.items():
            run.adapters[adapter] = Run(f"{name}:{adapter}", own, run.engine, roles, adapter)
        if self.signer is not None:
            for each in (run, *run.adapters.values()):
                digest = run.engine.call(partial(digest_of, pipeline.model), each.adapter).result()
                each.sign = partial(self.signer.sign, run=each.name, digest=digest)
        return run

    def _copies(self, name: str, pipeline: Generator, adapters: Mapping[str, Generator]) -> Copies:
        """What a run and its adapters were trained on, to look for near-copies."""
        rows = {}
        for adapter, own in {"": pipeline, **adapters}.items():
            whose = f"{name}:{adapter}" if adapter else name
            try:
                rows[adapter] = own.data(self.data.get(whose)).train
            except (ConfigError, DataError) as error:
                raise type(error)(f"{whose}: near-copies of its training rows cannot be looked for: {error}") from None
        return Copies(rows.pop(""), rows)

    def _touch(self, name: str) -> Run:
        self._open.move_to_end(name)
        self._open[name].used = time.monotonic()
        return self._open[name]

    def _take_idle(self, kept: str) -> list[Run]:
        """Takes idle runs away, the one used longest ago first, until the others fit."""
        taken = []
        for name in list(self._open):
            if sum(run.memory_bytes for run in self._open.values()) <= self.most_bytes:
                break
            idle = time.monotonic() - self._open[name].used >= self.idle_seconds
            if name != kept and idle and not self._open[name].engine.waiting:
                taken.append(self._open.pop(name))
        return taken

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
