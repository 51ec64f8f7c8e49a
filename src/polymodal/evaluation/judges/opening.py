"""Any judge by where it is: one that was trained here, or an encoder of Hugging Face."""

from __future__ import annotations

from pathlib import Path

from polymodal.data import Rows
from polymodal.errors import CheckpointError, ConfigError
from polymodal.evaluation.judges.contrastive import Judge
from polymodal.evaluation.judges.embedder import Embedder
from polymodal.evaluation.judges.hugging_face import HuggingFaceJudge


def open_judge(place: str | Path, rows: Rows) -> Embedder:
    """The judge of a folder that ``Judge.train`` wrote, or an encoder of Hugging Face in a folder or on the hub.

    Args:
        place: Folder or name.
        rows: Training rows, whose fields it is to read.

    Raises:
        CheckpointError: The judge is broken.
        ConfigError: There is none, or it reads none of the fields.
    """
    folder = Path(place).expanduser()
    if (folder / "judge.json").is_file():
        judge = Judge.load(folder)
        for name, modality in judge.modalities.items():
            there = rows.fields.get(name)
            own, others = modality.state(), modality.state() if there is None else there.state()
            if differs := [key for key in own if own[key] != others.get(key)]:
                raise CheckpointError(
                    f"{folder}: the judge's field '{name}' is read in another way than the data's, whose "
                    f"{', '.join(differs)} differ; train a judge on these data"
                )
        return judge
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: holds neither a judge (judge.json) nor an encoder of Hugging Face (config.json)")
    return HuggingFaceJudge(str(place), rows)
