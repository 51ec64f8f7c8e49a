"""Fill the missing cells of a table."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from polymodal.studio import commands
from polymodal.studio.first_rows import first_rows
from polymodal.studio.tabs.parts import command_box, follow, mistake, output_box
from polymodal.studio.texts import Texts
from polymodal.studio.workspace import Workspace


def build(work: Workspace, texts: Texts, run: gr.Dropdown) -> None:
    """The tab."""

    def fill(folder: str, table: str, confidence: bool, least: float, draw: bool) -> Iterator[tuple[Any, ...]]:
        if not folder:
            raise mistake(texts("run.none"))
        if not table:
            raise mistake(texts("data.none"))
        output = work.folder / "filled" / Path(table).stem / Path(table).name
        output.parent.mkdir(parents=True, exist_ok=True)
        words = commands.fill(folder, table, output, confidence=confidence, least=least, draw=draw)
        for said in follow(work.fill, words, texts):
            yield commands.line(words), said, gr.File(visible=False), gr.skip()
        if work.fill.status == 0:
            headers, rows = first_rows(output)
            yield (
                commands.line(words),
                said,
                gr.File(str(_download(output)), visible=True),
                gr.Dataframe(value=rows, headers=headers),
            )

    with gr.Row():
        upload = gr.File(label=texts("fill.upload"), file_count="multiple", elem_id="fill-upload", height=140)
        with gr.Column():
            table = gr.Textbox(label=texts("fill.source"), elem_id="fill-source")
            confidence = gr.Checkbox(True, label=texts("fill.confidence"), elem_id="fill-confidence")
            least = gr.Slider(0, 1, 0, step=0.05, label=texts("fill.least"))
            draw = gr.Checkbox(False, label=texts("fill.draw"))
    with gr.Row():
        start = gr.Button(texts("fill.start"), variant="primary", elem_id="fill-start")
        stop = gr.Button(texts("stop"), variant="stop")
    command, output = command_box(texts, "fill"), output_box(texts, "fill")
    filled = gr.File(label=texts("fill.done"), interactive=False, elem_id="fill-done", visible=False)
    rows = gr.Dataframe(label=texts("fill.first"), type="array", interactive=False, wrap=True, elem_id="fill-rows")
    upload.upload(work.keep, upload, table)
    start.click(fill, [run, table, confidence, least, draw], [command, output, filled, rows])
    stop.click(work.fill.stop)


def _download(table: Path) -> Path:
    """The table; packed with the files that its cells name, if there are any."""
    if len(list(table.parent.iterdir())) == 1:
        return table
    return Path(shutil.make_archive(str(table.parent), "zip", table.parent))
