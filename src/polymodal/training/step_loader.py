"""The rows of each step: which, in what order, with which task. A function of the seed and the step alone.

So a run that is killed and started again, and a run on more processes, see what they would have seen.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.errors import ConfigError
from polymodal.model import MicroBatch
from polymodal.nn.random import fold, make_keys, uniform
from polymodal.training.target_sampling import TargetSampler, thinned
from polymodal.types import Needs, Task

DrawTask = Callable[[Mapping[str, Tensor], Tensor], Task]
"""(presence by field (B,), keys (B,)) -> task."""


class StepLoader:
    """The micro-batches of training steps for one process.

    Rows are visited in a new order every epoch. Every process works out the tasks of the whole step, which costs next
    to nothing, and fetches its own rows only; so the divisors of the losses need no communication.

    Args:
        rows: Training rows.
        task: Draws tasks.
        batch_size: Rows of a step, over all processes and parts.
        parts: Parts that each process divides its rows into.
        seed: Seed of order, tasks and keys.
        process: Rank of this process.
        processes: Their number.
        device: Where micro_batches go.
        sampling: Draws some targets more often than others; None takes rows and targets as they come.
        tasks_per_row: Tasks of each row.
        uniform: Whether micro-batches say what the rows of all processes need.

    Raises:
        ConfigError: There are fewer rows in a step than parts.
    """

    def __init__(
        self,
        rows: Rows,
        task: DrawTask,
        *,
        batch_size: int,
        parts: int = 1,
        seed: int = 0,
        process: int = 0,
        processes: int = 1,
        device: torch.device | str = "cpu",
        sampling: TargetSampler | None = None,
        tasks_per_row: int = 1,
        uniform: bool = False,
    ):
        if batch_size < parts * processes:
            raise ConfigError(
                f"train.accumulate: {parts} parts of {batch_size} rows on {processes} processes leave some without a "
                "row; raise train.batch_size"
            )
        self.rows, self.task, self.seed, self.device = rows, task, seed, torch.device(device)
        self.batch_size, self.parts, self.process, self.processes = batch_size, parts, process, processes
        self.present = {name: torch.from_numpy(present.copy()) for name, present in rows.present.items()}
        self.root = make_keys(seed, 1)
        self.sampling, self.tasks_per_row, self.uniform = sampling, tasks_per_row, uniform
        self.ahead = -(-rows.ahead // batch_size)  # steps whose rows are told of in advance
        if sampling and self.ahead:
            raise ConfigError(
                "tasks.sampling: rows in shards are read in their own order; 'fixed' is right, or data.shards: null"
            )

    def indices(self, step: int) -> Tensor:
        """(batch_size,) row numbers of a step."""
        if self.sampling:
            return self._weighted(step, self.sampling)
        position = torch.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = position // len(self.rows)
        result = torch.empty_like(position)
        for epoch in epochs.unique().tolist():
            here = epochs == epoch
            result[here] = self.rows.order.at(fold(self.root, epoch), position[here] % len(self.rows))
        return result

    def _order(self, epoch: int) -> Tensor:
        """The whole order of an epoch."""
        return self.rows.order.at(fold(self.root, epoch), torch.arange(len(self.rows)))

    def _weighted(self, step: int, sampling: TargetSampler) -> Tensor:
        """Rows drawn by weight, one from each of as many equal slices of all rows in random order.

        The order is another one every epoch, so that a place in the batch, which a process always has, sees all rows,
        and any two rows meet.
        """
        epoch, odds = step * self.batch_size // len(self.rows), sampling.odds(step)
        if getattr(self, "_drawn", None) != (epoch, odds):
            self._drawn = epoch, dict(odds)
            self._permutation = self._order(epoch)
            self._reach = sampling.weights(self.present, odds)[self._permutation].cumsum(0)
        places = torch.arange(self.batch_size)
        mark = (places + uniform(fold(make_keys(self.seed + 3, 1, start=step), places)).double()) / self.batch_size
        index = torch.searchsorted(self._reach, mark * self._reach[-1], right=True)
        return self._permutation[index.clamp(max=len(self.rows) - 1)]

    def micro_batches(self, step: int) -> list[MicroBatch]:
        """This process's parts of a step."""
        index = self.indices(step)
        keys = fold(make_keys(self.seed + 1, 1, start=step), torch.arange(self.tasks_per_row * self.batch_size))
        task = self.task(
            {name: present[index].repeat(self.tasks_per_row) for name, present in self.present.items()}, keys
        )
        if self.sampling:
            task = thinned(task, self.sampling.odds(step), keys)
        counts = {name: int(target.sum()) for name, target in task.target.items()}
        needs = self._needs(index, task) if self.uniform else Needs()
        places = torch.arange(self.batch_size).tensor_split(self.processes * self.parts)
        mine = places[self.process * self.parts : (self.process + 1) * self.parts]
        return [self._micro_batch(index, keys, task, counts, p, needs) for p in mine]

    def _needs(self, index: Tensor, task: Task) -> Needs:
        """What the rows ``index`` (batch_size,) of a step need."""
        masks = ({name: self.present[name][index] for name in task.visible}, task.visible, task.target)
        return Needs(*(frozenset(name for name, mask in group.items() if mask.any()) for group in masks))

    def _micro_batch(
        self, index: Tensor, keys: Tensor, task: Task, counts: Mapping[str, int], places: Tensor, needs: Needs
    ) -> MicroBatch:
        own = self.rows.batch(index[places])
        places = torch.cat([places + view * self.batch_size for view in range(self.tasks_per_row)])
        batch = self.rows.decode({name: field.to(self.device) for name, field in own.items()})
        present = {name: field.present for name, field in own.items()}
        keys = keys[places].to(self.device, non_blocking=True)
        return MicroBatch(batch, _pick(task, places), keys, counts, self.batch_size, present, self.tasks_per_row, needs)

    def _expect(self, step: int) -> None:
        if self.ahead:
            self.rows.expect(self.indices(step))

    def stream(self, start: int) -> Iterator[list[MicroBatch]]:
        """The micro-batches of steps ``start``, ``start + 1``, ... The next step's are fetched while one is used."""
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
            _confine(pool)
            for step in range(start, start + self.ahead):
                pool.submit(self._expect, step).result()
            pending = pool.submit(self.micro_batches, start)
            while True:
                ready = pending.result()
                pool.submit(self._expect, start + self.ahead)
                start += 1
                pending = pool.submit(self.micro_batches, start)
                yield ready


def _confine(pool: ThreadPoolExecutor) -> None:
    """Gives the pool's one thread a single core for its tensors; all other threads keep theirs.

    OpenMP's threads wait for each other awake only while a process has no more of them than cores. With a second crew
    of them, the loader's, each of the thousand small operations of a step ends in a sleep.
    """
    threads = torch.get_num_threads()
    pool.submit(torch.set_num_threads, 1).result()
    pool.submit(torch.get_num_threads).result()  # the thread's number is settled by the first call that asks for it
    torch.set_num_threads(threads)  # which is also for threads to come


def _pick(task: Task, places: Tensor) -> Task:
    return Task(
        {name: mask[places] for name, mask in task.visible.items()},
        {name: mask[places] for name, mask in task.target.items()},
    )
