"""Score a run, and compare runs."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from polymodal.data import SPLITS
from polymodal.studio import commands
from polymodal.studio.frames import frame
from polymodal.studio.tabs.parts import command_box, follow, mistake, output_box
from polymodal.studio.texts import Texts
from polymodal.studio.workspace import Workspace


def build(work: Workspace, texts: Texts, run: gr.Dropdown) -> None:
    """The tab."""

    def evaluate(folder: str, split: str, rows: int, judge: int, quick: bool) -> Iterator[tuple[Any, ...]]:
        if not folder:
            raise mistake(texts("run.none"))
        words = commands.evaluate(folder, split=split, rows=rows, judge_steps=judge, quick=quick)
        page = Path(folder) / "evaluation" / f"{split}{'-quick' * quick}.html"
        yield from shown(words, page)

    def compare(folder: str, others: Sequence[str], split: str) -> Iterator[tuple[Any, ...]]:
        if not folder:
            raise mistake(texts("run.none"))
        page = work.folder / "comparison.html"
        yield from shown(commands.compare([folder, *(other for other in others if other != folder)], split=split,
                                          page=page), page)  # fmt: skip

    def shown(words: Sequence[str], page: Path) -> Iterator[tuple[Any, ...]]:
        """A command that writes a page, as it goes on, then the page."""
        for said in follow(work.score, words, texts):
            yield commands.line(words), said, "", gr.File(visible=False)
        if work.score.status == 0:
            kept = page if page.parent == work.folder else shutil.copy(page, work.folder)  # what the studio may serve
            yield commands.line(words), said, frame(page), gr.File(str(kept), visible=True)

    with gr.Row():
        split = gr.Dropdown([*reversed(SPLITS)], value="test", label=texts("score.split"))
        rows = gr.Number(200, label=texts("score.rows"), precision=0, minimum=1, elem_id="score-rows")
        judge = gr.Number(500, label=texts("score.judge"), precision=0, minimum=0, elem_id="score-judge")
        quick = gr.Checkbox(False, label=texts("score.quick"), elem_id="score-quick")
    with gr.Row():
        start = gr.Button(texts("score.start"), variant="primary", elem_id="score-start")
        stop = gr.Button(texts("stop"), variant="stop")
    with gr.Row():
        others = gr.Dropdown(
            work.run_names(),
            multiselect=True,
            allow_custom_value=True,
            label=texts("score.others"),
            elem_id="score-others",
        )
        against = gr.Button(texts("score.compare"), elem_id="score-compare")
    command, output = command_box(texts, "score"), output_box(texts, "score")
    page = gr.HTML(elem_id="score-page")
    file = gr.File(label=texts("page"), interactive=False, visible=False)
    outputs = [command, output, page, file]
    start.click(evaluate, [run, split, rows, judge, quick], outputs)
    against.click(compare, [run, others, split], outputs)
    stop.click(work.score.stop)
