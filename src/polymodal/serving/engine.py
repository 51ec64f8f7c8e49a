"""One thread owns a model. Requests become rows with keys of their own, which are sampled together where they can be.

A row's sample is the same to the last bit alone and beside others: batches have one number of rows, shapes are those
of the spaces (``nn.shapes``), and rows meet only if the same fields are given, asked for and sampled with the same
options and the same adapter.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from polymodal.api import Generator
from polymodal.config import Recipe
from polymodal.generation import check_fields, read, write
from polymodal.nn.random import make_keys
from polymodal.nn.shapes import fixed_shapes
from polymodal.serving.errors import ApiError
from polymodal.types import Field

Options = Mapping[str, Mapping[str, Any]]
Made = dict[str, Any]

MOST_OPTION = 1000
"""Largest number in an option: a request for a billion steps would hold the model for ever."""
ROW_SECONDS = 0.25
"""By which each further sample of a request is asked for later than the one before; none holds up all others."""


@dataclass(order=True)
class _Row:
    """One sample that is waited for."""

    turn: float
    number: int
    given: dict[str, Field] = field(compare=False)
    to: tuple[str, ...] = field(compare=False)
    key: Tensor = field(compare=False)
    options: Options = field(compare=False)
    adapter: str = field(compare=False)
    made: Future[Made] = field(compare=False, default_factory=Future)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Rows of one kind can be sampled together."""
        options = repr({name: sorted(part.items()) for name, part in self.options.items()})
        return tuple(self.given), self.to, options, self.adapter


class Engine:
    """Samples of one model, made in a thread of its own.

    Args:
        pipeline: The model.
        batch_rows: Rows of every batch; where fewer wait, the rest is computed in vain, so that bits do not change.
        most_waiting: Rows that may wait; more are refused.
        watch: Called with the rows of each batch and the seconds that it took.
        withhold: What is generated, by field, and the name of the adapter -> for each row an error that is answered in
            its place, or None.
    """

    def __init__(
        self,
        pipeline: Generator,
        *,
        batch_rows: int = 8,
        most_waiting: int = 256,
        watch: Callable[[int, float], None] = lambda rows, seconds: None,
        withhold: Callable[[Mapping[str, Field], str], Sequence[ApiError | None]] | None = None,
    ):
        self.pipeline, self.batch_rows, self.most_waiting, self.watch = pipeline, batch_rows, most_waiting, watch
        self.withhold = withhold
        self._waiting: list[_Row] = []
        self._calls: list[tuple[Callable[[], Any], Future[Any], str]] = []
        self._adapters: dict[str, Mapping[str, Tensor]] = {}
        self._recipes: dict[str, Recipe] = {}
        self._worn = ""
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="polymodal model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        return len(self._waiting)

    @property
    def adapter_bytes(self) -> int:
        """Of the weights that are kept of adapters, and of the model's own in their place."""
        return sum(weight.nbytes for weights in self._adapters.values() for weight in weights.values())

    def adopt(self, adapters: Mapping[str, Mapping[str, Tensor]], recipes: Mapping[str, Recipe] | None = None) -> None:
        """Weights by the name of an adapter, all with the same keys, which rows and calls may ask for from now on.

        Args:
            adapters: On the model's device; none of them is called "", which is the model as it is.
            recipes: By the same names, of which the pivots and screens go with the weights; the model's if not given.
        """
        own_recipe = self.pipeline.model.recipe
        self._recipes = {"": own_recipe, **dict.fromkeys(adapters, own_recipe), **(recipes or {})}
        state = self.pipeline.model.state_dict()
        own = {name: state[name].clone() for name in next(iter(adapters.values()), {})}
        self._adapters = {"": own, **adapters} if adapters else {}

    def read(self, given: Mapping[str, Any], to: Sequence[str], options: Options | None = None) -> dict[str, Field]:
        """Raw values -> fields of one row, as long as their spaces allow; in the caller's thread.

        Raises:
            ConfigError: The model cannot do this.
            DataError: A value cannot be read.
            ApiError: A value names a file, of this machine.
        """
        model = self.pipeline.model
        check_fields(model, given, to, options)
        for name, part in (options or {}).items():
            for option, value in part.items():
                if isinstance(value, int | float) and value > MOST_OPTION:
                    raise ApiError(400, f"options.{name}.{option}: {value:g} is above {MOST_OPTION}", param="options")
        for name, raw in given.items():
            if isinstance(raw, str) and model.modalities[name].names_file(raw):
                raise ApiError(400, f"{name}: names a file; its content is right", param=name)
        fields = {name: read(name, model.modalities[name], given[name]) for name in sorted(given)}
        return {name: value.pad(model.modalities[name].space.max_length) for name, value in fields.items()}

    def submit(
        self,
        given: dict[str, Field],
        to: Sequence[str],
        *,
        n: int = 1,
        seed: int = 0,
        options: Options | None = None,
        adapter: str = "",
    ) -> list[Future[Made]]:
        """Samples 0 to n - 1 of a seed, as futures of objects by field; cancelled ones are not computed.

        Args:
            given: What ``read`` gave.
            to: Fields to generate; the model chooses the order in which they are drawn.
            n: Number of samples.
            seed: Sample k of a seed is the same however many are drawn.
            options: Options of the heads by field.
            adapter: One that was adopted; the model as it is if empty.

        Raises:
            ApiError: Too many rows wait, or the server stops.
        """
        now = time.monotonic()
        with self._changed:
            if not self._open:
                raise ApiError(503, "the server is stopping", code="stopping", retry_after=5)
            if len(self._waiting) + n > self.most_waiting:
                raise ApiError(
                    429,
                    f"{len(self._waiting)} of at most {self.most_waiting} samples wait already; try again later",
                    code="rate_limit_exceeded",
                    retry_after=1 + len(self._waiting) // (2 * self.batch_rows),
                )
            keys = make_keys(seed, n)
            rows = [
                _Row(
                    now + k * ROW_SECONDS,
                    next(self._numbers),
                    given,
                    tuple(to),
                    keys[k : k + 1],
                    options or {},
                    adapter,
                )
                for k in range(n)
            ]
            for row in rows:
                heapq.heappush(self._waiting, row)
            self._changed.notify()
        return [row.made for row in rows]

    def call(self, work: Callable[[], Any], adapter: str = "") -> Future[Any]:
        """The result of ``work``, which uses the model with an adapter, called in its thread between two batches.

        Raises:
            ApiError: Too many wait, or the server stops.
        """
        future: Future[Any] = Future()
        with self._changed:
            if not self._open:
                raise ApiError(503, "the server is stopping", code="stopping", retry_after=5)
            if len(self._calls) >= self.most_waiting:
                raise ApiError(429, f"{len(self._calls)} calls wait already", code="rate_limit_exceeded", retry_after=5)
            self._calls.append((work, future, adapter))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Takes no more rows, finishes those that wait, and ends the thread."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._calls or not self._open)
                if not (self._waiting or self._calls):
                    return
                calls, self._calls = self._calls[:1], self._calls[1:]  # between two there are rows
                rows = self._next()
            for work, future, adapter in calls:
                if future.set_running_or_notify_cancel():  # from here on nobody can cancel it
                    self._wear(adapter)
                    _settle([future], lambda work: [work()], work)
            if rows:
                began = time.perf_counter()
                self._answer(rows)
                self.watch(len(rows), time.perf_counter() - began)

    @torch.no_grad()
    def _wear(self, adapter: str) -> None:
        """Puts the weights of an adapter into the model, unless they are there."""
        if adapter != self._worn:
            state = self.pipeline.model.state_dict()
            for name, weight in self._adapters[adapter].items():
                state[name].copy_(weight)
            model, recipe = self.pipeline.model, self._recipes[adapter]
            model.recipe = model.recipe.model_copy(update={"pivots": recipe.pivots, "screens": recipe.screens})
            self._worn = adapter

    def _answer(self, rows: Sequence[_Row]) -> None:
        """Gives each row its sample; if they cannot be made together, each alone, so that one fails no other."""
        self._wear(rows[0].adapter)
        try:
            made = self._sample(rows)
        except Exception:
            for row in rows:
                _settle([row.made], self._sample, [row])
        else:
            _give([row.made for row in rows], made)

    def _next(self) -> list[_Row]:
        """The row whose turn it is, and others of its kind; the rest goes on waiting."""
        rows: list[_Row] = []
        passed: list[_Row] = []
        while self._waiting and len(rows) < self.batch_rows:
            row = heapq.heappop(self._waiting)
            if rows and row.kind != rows[0].kind:
                passed.append(row)
            elif row.made.set_running_or_notify_cancel():
                rows.append(row)
        for row in passed:
            heapq.heappush(self._waiting, row)
        return rows

    @torch.no_grad()
    def _sample(self, rows: Sequence[_Row]) -> list[Made | ApiError]:
        """Objects by field, of each row; or why they are withheld."""
        model, first = self.pipeline.model, rows[0]
        places = torch.arange(self.batch_rows).clamp(max=len(rows) - 1)  # the last row fills what is left
        keys = torch.cat([row.key for row in rows])[places].to(model.device)
        everywhere = torch.ones(self.batch_rows, dtype=torch.bool)
        batch = {
            name: Field.stack([row.given[name] for row in rows]).pick(places).to(model.device) for name in first.given
        }
        visible, to = dict.fromkeys(first.given, everywhere), dict.fromkeys(first.to, everywhere)
        with fixed_shapes():
            made = model.sample(batch, visible, to, keys, first.options)
        own = torch.arange(len(rows))
        made = {name: field.to("cpu").pick(own) for name, field in made.items()}
        withheld = self.withhold(made, first.adapter) if self.withhold else [None] * len(rows)
        written = {name: write(model.modalities[name], field) for name, field in made.items()}
        return [error or {name: things[k] for name, things in written.items()} for k, error in enumerate(withheld)]


def _settle(futures: Sequence[Future[Any]], work: Callable[[Any], Sequence[Any]], of: Any) -> None:
    """Gives each future its result, or all of them the error: one bad request must not end the thread."""
    try:
        results = work(of)
    except BaseException as error:  # whoever waits is told, whatever it is
        for future in futures:
            future.set_exception(error)
    else:
        _give(futures, results)


def _give(futures: Sequence[Future[Any]], results: Sequence[Any]) -> None:
    """Gives each future its result, or the error that is in its place."""
    for future, result in zip(futures, results, strict=True):
        if isinstance(result, ApiError):
            future.set_exception(result)
        else:
            future.set_result(result)
