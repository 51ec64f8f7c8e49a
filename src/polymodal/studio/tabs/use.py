"""Use a run: any fields in, any out; what made an output; the nearest real values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from polymodal.api import Generator
from polymodal.errors import PolymodalError
from polymodal.evaluation import Card, Section, write_page
from polymodal.evaluation.explanation import write_explanation
from polymodal.files import write_file
from polymodal.studio import commands
from polymodal.studio.frames import frame
from polymodal.studio.tabs.parts import command_box, mistake, told
from polymodal.studio.texts import Texts
from polymodal.studio.widgets import find_widget
from polymodal.studio.workspace import Workspace

MOST_SAMPLES = 64


def build(work: Workspace, texts: Texts, run: gr.Dropdown) -> None:
    """The tab, which is made anew for each run that is chosen."""

    @gr.render(inputs=run, triggers=[run.change])
    def panel(folder: str) -> None:
        try:
            model = work.open(folder) if folder else None
        except (PolymodalError, OSError) as error:
            gr.Markdown(str(error))
            return
        if model is None:
            gr.Markdown(texts("run.none"))
        else:
            UsePanel(work, texts, folder, model)


class UsePanel:
    """Inputs and outputs of one run.

    Args:
        work: What is worked on.
        texts: In one language.
        run: Folder of the run.
        model: Its model.
    """

    def __init__(self, work: Workspace, texts: Texts, run: str, model: Generator):
        self.work, self.texts, self.run, self.model = work, texts, run, model
        self.widgets = {name: find_widget(model.fields[name]) for name in model.inputs}
        gr.Markdown(f"**{run}**. {texts('use.given')}", elem_id="use-given")
        with gr.Row():
            given = [
                getattr(gr, widget.component)(label=name, elem_id=f"use-{name}", min_width=240, **widget.settings())
                for name, widget in self.widgets.items()
            ]
        with gr.Row():
            to = gr.Dropdown(model.outputs, value=model.outputs[:1], multiselect=True, label=texts("use.to"),
                             elem_id="use-to")  # fmt: skip
            count = gr.Number(4, label=texts("use.count"), precision=0, minimum=1, maximum=MOST_SAMPLES)
            seed = gr.Number(0, label=texts("use.seed"), precision=0)
        with gr.Row():
            generate = gr.Button(texts("use.generate"), variant="primary", elem_id="use-generate")
            explain = gr.Button(texts("use.explain"), elem_id="use-explain")
            search = gr.Button(texts("use.search"), elem_id="use-search")
        command = command_box(texts, "use")
        page = gr.HTML(elem_id="use-page")
        files = gr.File(
            label=texts("files"), elem_id="use-files", interactive=False, file_count="multiple", visible=False
        )
        outputs = [command, page, files]
        generate.click(told(self.generate), [to, count, seed, *given], outputs)
        explain.click(told(self.explain), [to, seed, *given], outputs)
        search.click(told(self.search), [to, count, *given], outputs)

    def generate(self, to: Sequence[str], count: int | None, seed: int | None, *values: Any) -> tuple[Any, ...]:
        """Samples as cards, and their files."""
        self._check(to)
        (raws, typed), count, seed = self._given(values), count or 1, seed or 0
        made = self.model.generate(raws, to, n=count, seed=seed)
        for name, familiarity in self.model.familiarity(raws, learn=False).items():
            if familiarity.unfamiliar:
                gr.Warning(f"{name}: {self.texts('use.unfamiliar')} {', '.join(familiarity.unknown_words)}")
        folder = self.work.folder / "generated"
        files = []
        for name, things in made.items():
            for number, thing in enumerate(things):
                files.append(folder / f"{name}-{number}{self.model.fields[name].suffix}")
                write_file(files[-1], self.model.fields[name].encode(thing))
        cards = [
            Card({}, {name: self.model.fields[name].preview(things[k]) for name, things in made.items()})
            for k in range(count)
        ]
        words = commands.generate(self.run, typed, to, n=count, seed=seed, folder=folder)
        page = self._page("generated", self.texts("use.made"), ", ".join(to), cards)
        return commands.line(words), frame(page), _files(*files, page)

    def explain(self, to: Sequence[str], seed: int | None, *values: Any) -> tuple[Any, ...]:
        """What made sample 0 of the first field that is asked for."""
        self._check(to)
        (raws, typed), seed = self._given(values), seed or 0
        page = self.work.folder / "explanation.html"
        words = commands.explain(self.run, typed, to[0], seed=seed, page=page)
        explanation = self.model.explain(raws, to[0], seed=seed)
        write_explanation(self.model.model, explanation, page, command=commands.line(words))
        return commands.line(words), frame(page), _files(page)

    def search(self, to: Sequence[str], count: int | None, *values: Any) -> tuple[Any, ...]:
        """The real values of the first field that is asked for that are nearest to what is given."""
        self._check(to)
        (raws, typed), count = self._given(values), count or 1
        words = commands.search(self.run, typed, to[0], k=count, folder=self.work.folder / "found")
        fields = self.model.fields
        cards = [
            Card(
                {
                    name: fields[name].preview(value)
                    for name, value in hit.fields.items()
                    if value is not None and name != to[0]
                },
                {},
                {to[0]: fields[to[0]].preview(hit.value)},
                remark=f"{hit.rank}. {hit.similarity:.3f}, {self.texts('column.row')} {hit.row}",
            )
            for hit in self.model.search(raws, to[0], k=count)
        ]
        page = self._page("found", self.texts("use.found"), to[0], cards)
        return commands.line(words), frame(page), _files(page)

    def _check(self, to: Sequence[str]) -> None:
        if not to:
            raise mistake(self.texts("use.none"))

    def _given(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Raw values by field, and the same as they are typed."""
        held = dict(zip(self.widgets, values, strict=True))
        raws = {name: self.widgets[name].raw(value) for name, value in held.items()}
        typed = {name: self.widgets[name].typed(value) for name, value in held.items()}
        return (
            {name: raw for name, raw in raws.items() if raw is not None},
            {name: text for name, text in typed.items() if text is not None},
        )

    def _page(self, name: str, title: str, heading: str, cards: Sequence[Card]) -> Path:
        return write_page(self.work.folder / f"{name}.html", title, [Section(heading, cards=cards)])


def _files(*paths: Path) -> gr.File:
    return gr.File([str(path) for path in paths], visible=True)
