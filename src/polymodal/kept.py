"""What a run's folder keeps beside its checkpoints, made where it is not there yet: judge, calibration, familiarity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.data import Data, Rows
from polymodal.modalities.base import Modality
from polymodal.model import Model
from polymodal.progress import Progress

if TYPE_CHECKING:
    from polymodal.evaluation import Judge
    from polymodal.evaluation.calibration import Calibration
    from polymodal.familiarity import FamiliarityMeter


def judge(
    run: Path | None, fields: Mapping[str, Modality], training: Rows | None, steps: int, print_progress: bool = True
) -> Judge | None:
    """A judge of pictures and sound, from the run's folder or trained now; None if nothing asks for one."""
    from polymodal.evaluation import Judge
    from polymodal.evaluation.kinds import find_kind

    judged = any(find_kind(modality).judged for modality in fields.values())
    if training is None or not steps or not judged:
        return None
    folder = run / "judge" if run else None
    with Progress("training the judge", shown=print_progress) as bar:
        return Judge.train(
            training, steps=steps, folder=folder, progress=lambda n, count: bar.at(n / count, f"step {n:,}")
        )


def calibration(
    model: Model, run: Path | None, options: Mapping[str, Mapping[str, Any]] | None, draws: int
) -> Calibration | None:
    """The run's calibration; None if there is none for these options of the heads and these draws."""
    from polymodal.evaluation.calibration import Calibration

    if run and (run / "calibration" / "calibration.json").exists():
        there = Calibration.load(run / "calibration")
        if there.fits(model, options, draws):
            return there
    return None


def familiarity_meter(model: Model, run: Path | None, data: Callable[[], Data] | None) -> FamiliarityMeter | None:
    """The run's meter, or one that is learned from its ``data``, and kept; None if there is neither."""
    from polymodal.familiarity import FamiliarityMeter

    meter = FamiliarityMeter.load(model, run) if run else None
    if meter is None and data is not None:
        rows = data()
        meter = FamiliarityMeter.learn(model, rows.train, rows.validation)
        if run:
            with suppress(OSError):
                meter.save(run)
    return meter
