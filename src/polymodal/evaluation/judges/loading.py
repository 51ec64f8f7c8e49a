"""Any judge by its place: one that was trained here, or an encoder of Hugging Face."""

from __future__ import annotations

from pathlib import Path

from polymodal.data import Rows
from polymodal.errors import CheckpointError, ConfigError
from polymodal.evaluation.judges.contrastive import Judge
from polymodal.evaluation.judges.embedder import Embedder
from polymodal.evaluation.judges.hugging_face import HuggingFaceJudge


def load_judge(place: str | Path, rows: Rows) -> Embedder:
    """The judge of a folder that ``Judge.train`` wrote, or an encoder of Hugging Face.

    Args:
        place: A folder, or a name on the hub.
        rows: Training rows, whose fields it is to read.

    Raises:
        CheckpointError: The judge is broken, or reads its fields in another way than the data do.
        ConfigError: There is no judge, or it reads none of the fields.
    """
    folder = Path(place).expanduser()
    if (folder / "judge.json").is_file():
        judge = Judge.load(folder)
        for name, modality in judge.modalities.items():
            arguments = modality.state()
            others = rows.fields[name].state() if name in rows.fields else arguments
            if differs := [key for key in arguments if arguments[key] != others.get(key)]:
                raise CheckpointError(
                    f"{folder}: the judge's field '{name}' is read in another way than the data's, whose "
                    f"{', '.join(differs)} differ; train a judge on these data"
                )
        return judge
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: holds neither a judge (judge.json) nor an encoder of Hugging Face (config.json)")
    return HuggingFaceJudge(str(place), rows)
