"""Look at a table: what was recognised, corrected by hand, and what cannot be read."""

from pathlib import Path
from typing import Any

import gradio as gr

from polymodal.data import Data, contact_sheet, infer_fields, inspect, load
from polymodal.data.field_files import write_fields
from polymodal.studio import commands
from polymodal.studio.field_table import from_lines, to_lines
from polymodal.studio.tabs.parts import command_box, mistake, told
from polymodal.studio.texts import Texts
from polymodal.studio.workspace import Workspace

_MOST_REJECTED = 200
_COLUMNS = ("use", "field", "modality", "column", "settings")
_REPORTED = ("field", "modality", "rows", "distinct", "shape", "ids", "length")


class DataTab:
    """The tab.

    Args:
        work: What is worked on.
        texts: In one language.

    Attributes:
        source: The box with the source of rows.
        fields: The file of corrected fields, empty for those that are recognised.
        validation, test: The shares of the splits.
    """

    def __init__(self, work: Workspace, texts: Texts):
        self.work, self.texts = work, texts
        with gr.Row():
            upload = gr.File(label=texts("data.upload"), file_count="multiple", elem_id="data-upload", height=140)
            with gr.Column():
                self.source = gr.Textbox(work.source, label=texts("data.source"), elem_id="data-source")
                with gr.Row():
                    self.validation = gr.Number(0.05, label=texts("data.validation"), minimum=0, maximum=0.9, step=0.01)
                    self.test = gr.Number(0.1, label=texts("data.test"), minimum=0, maximum=0.9, step=0.01)
                recognise = gr.Button(texts("data.recognise"), variant="primary", elem_id="data-recognise")
        self.fields = gr.State("")
        table = gr.Dataframe(
            headers=[texts(f"column.{name}") for name in _COLUMNS],
            datatype=["bool", "str", "str", "str", "str"], type="array", label=texts("data.fields"), interactive=True,
            column_count=len(_COLUMNS), row_count=1, elem_id="data-fields", wrap=True,
        )  # fmt: skip
        check = gr.Button(texts("data.check"), elem_id="data-check")
        command = command_box(texts, "data")
        report = gr.Dataframe(
            headers=[texts(f"column.{name}") for name in _REPORTED],
            type="array", label=texts("data.report"), interactive=False, elem_id="data-report",
        )  # fmt: skip
        notes = gr.Markdown(elem_id="data-notes")
        sheet = gr.Image(label=texts("data.sheet"), elem_id="data-sheet", interactive=False, format="png")
        bad = gr.Dataframe(
            headers=[texts(f"column.{name}") for name in ("file", "row", "field", "reason")], type="array",
            label=texts("data.bad"), interactive=False, wrap=True, elem_id="data-bad",
        )  # fmt: skip
        shown = [command, report, notes, sheet, bad]
        upload.upload(self.work.keep, upload, self.source)
        recognise.click(told(self.recognise), [self.source, self.validation, self.test], [table, self.fields, *shown])
        check.click(told(self.check), [self.source, table, self.validation, self.test], [self.fields, *shown])

    def recognise(self, source: str, validation: float, test: float) -> tuple[Any, ...]:
        """The fields that the columns seem to be."""
        if not source:
            raise mistake(self.texts("data.none"))
        fields = infer_fields(source)
        return to_lines(fields), "", *self._look(source, fields, None, validation, test)

    def check(self, source: str, lines: list[list[Any]], validation: float, test: float) -> tuple[Any, ...]:
        """The fields as they were corrected, in a file for ``--fields``."""
        if not source:
            raise mistake(self.texts("data.none"))
        fields, path = from_lines(lines), self.work.folder / "fields.yaml"
        write_fields(path, fields)
        return str(path), *self._look(source, fields, path, validation, test)

    def _look(self, source: str, fields: Any, file: Path | None, validation: float, test: float) -> tuple[Any, ...]:
        data: Data = load(source, fields, validation=validation, test=test)
        sheet = self.work.folder / "sheet.png"
        words = commands.inspect(source, fields=file, sheet=sheet, validation=validation, test=test)
        found = inspect(data)
        lines = [
            [field.name, field.modality, field.present, field.distinct, "×".join(map(str, field.shape)),
             field.vocab or "", " – ".join(map(str, field.lengths or ()))]
            for field in found.fields
        ]  # fmt: skip
        rows = ", ".join(f"{name}: {count:,}" for name, count in found.rows.items())
        rejected = [
            [Path(bad.file).name, bad.row, bad.field or "", bad.reason] for bad in [*found.rejected, *found.bad_cells]
        ]
        notes = "\n".join(f"- {note}" for note in (rows, *found.notes))
        return commands.line(words), lines, notes, str(contact_sheet(data, sheet)), rejected[:_MOST_REJECTED]
