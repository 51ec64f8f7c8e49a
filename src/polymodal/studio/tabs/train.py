"""Train: live losses and samples, stop and go on."""

from pathlib import Path
from typing import Any

import gradio as gr

from polymodal.config import recipe_names
from polymodal.studio import commands, live
from polymodal.studio.tabs.data import DataTab
from polymodal.studio.tabs.parts import TICK_SECONDS, command_box, mistake, output_box, state_of, told
from polymodal.studio.texts import Texts
from polymodal.studio.workspace import Workspace

_SIZES = ("tiny", "small", "base", "large")


class TrainTab:
    """The tab.

    Args:
        work: What is worked on.
        texts: In one language.
        data: The tab with the source and its fields.
        run: The box with the run that other tabs use, which gets a run when it is trained.
    """

    def __init__(self, work: Workspace, texts: Texts, data: DataTab, run: gr.Dropdown):
        self.work, self.texts = work, texts
        with gr.Row():
            recipe = gr.Dropdown(recipe_names(), value="any-to-any", label=texts("train.recipe"),
                                 allow_custom_value=True, elem_id="train-recipe")  # fmt: skip
            size = gr.Dropdown(["", *_SIZES], value="", label=texts("train.size"), elem_id="train-size")
            budget = gr.Radio(
                [(texts(f"train.{name}"), name) for name in ("minutes", "steps")],
                value="minutes", label=texts("train.budget"), elem_id="train-budget",
            )  # fmt: skip
            amount = gr.Number(10, label=texts("train.amount"), minimum=0, elem_id="train-amount")
            folder = gr.Textbox(str(work.runs / "mine"), label=texts("train.run"), elem_id="train-run")
        with gr.Row():
            start = gr.Button(texts("train.start"), variant="primary", elem_id="train-start")
            stop = gr.Button(texts("stop"), variant="stop", elem_id="train-stop")
        command, output = command_box(texts, "train"), output_box(texts, "train")
        losses = gr.HTML(
            label=texts("train.losses"), elem_id="train-losses", container=True, padding=True, show_label=True
        )
        samples = gr.HTML(
            label=texts("train.samples"), elem_id="train-samples", container=True, padding=True, show_label=True
        )
        timer = gr.Timer(TICK_SECONDS, active=False)
        given = [data.source, data.fields, data.validation, data.test, recipe, size, budget, amount, folder]
        start.click(told(self.start), given, [command, timer])
        stop.click(work.train.stop)
        seen = gr.State("")
        timer.tick(self.look, seen, [output, losses, samples, timer, run, seen], show_progress="hidden")
        self.resume = (self.pick_up, folder, [command, timer, folder])

    def start(self, source: str, fields: str, validation: float, test: float, recipe: str, size: str, budget: str,
              amount: float | None, run: str) -> tuple[Any, ...]:  # fmt: skip
        """Begins the command."""
        if not source:
            raise mistake(self.texts("data.none"))
        words = commands.train(
            recipe, source, run, fields=Path(fields) if fields else None, size=size, budget=budget, amount=amount or 0,
            settings={"data.validation": validation, "data.test": test},
        )  # fmt: skip
        if not self.work.train.start(words):
            raise mistake(f"{self.texts('working')} {commands.line(self.work.train.words)}")
        self.work.training = run
        return commands.line(words), gr.Timer(active=True)

    def look(self, seen: str) -> tuple[Any, ...]:
        """How it stands; the timer rests when the command has ended, and the run can then be used.

        Args:
            seen: The samples that are shown; they are sent once, so that a sound that is played goes on.
        """
        running = self.work.train.running
        run = Path(self.work.training)
        newest = live.newest_samples(run)
        shown = f"{run}: {newest}"
        samples = gr.skip() if shown == seen else live.samples(newest)
        chosen = gr.skip()
        if self.work.train.status == 0:
            self.work.run = self.work.training
            chosen = gr.Dropdown(choices=self.work.run_names(), value=self.work.training)
        return (
            state_of(self.work.train, self.texts), live.losses(run), samples, gr.Timer(active=running),
            chosen, shown,
        )  # fmt: skip

    def pick_up(self, folder: str) -> tuple[Any, ...]:
        """For a page that is opened while a command is in work, or after it."""
        begun = bool(self.work.training)
        shown = commands.line(self.work.train.words) if begun else ""
        return shown, gr.Timer(active=begun), self.work.training or folder
