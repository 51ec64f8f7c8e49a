"""Parts that several tabs have."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from polymodal.errors import PolymodalError
from polymodal.studio.commands import line
from polymodal.studio.processes import Job
from polymodal.studio.texts import Texts

TICK_SECONDS = 0.5
"""Between two looks at a command in work."""


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose user's mistakes are told on the page."""

    @functools.wraps(handler)
    def checked(*values: Any) -> Any:
        try:
            return handler(*values)
        except (PolymodalError, OSError) as error:
            raise mistake(str(error)) from None

    return checked


def mistake(text: str) -> gr.Error:
    """A sentence that the page shows for a while."""
    return gr.Error(text, print_exception=False)


def command_box(texts: Texts, name: str) -> gr.Textbox:
    """Where the command of a click is shown."""
    return gr.Textbox(
        label=texts("command"), lines=1, max_lines=8, buttons=["copy"], interactive=False, elem_classes="command",
        elem_id=f"{name}-command",
    )  # fmt: skip


def output_box(texts: Texts, name: str) -> gr.Textbox:
    """Where it is shown what a command says."""
    return gr.Textbox(label=texts("output"), lines=3, max_lines=12, elem_id=f"{name}-output", interactive=False,
                      elem_classes="command")  # fmt: skip


def state_of(job: Job, texts: Texts) -> str:
    """What a command says, and how it stands with it."""
    ended = {None: "", 0: "finished", 143: "stopped"}.get(job.status, "failed")
    word = "working" if job.running else ended
    return "\n".join(part for part in (job.tail(), word and texts(word)) if part)


def follow(job: Job, words: Sequence[str], texts: Texts) -> Iterator[str]:
    """Runs a command; what it says, as it comes.

    Raises:
        gr.Error: Another one is in work, or it failed.
    """
    if not job.start(words):
        raise mistake(f"{texts('working')} {line(job.words)}")
    while not job.wait(TICK_SECONDS):
        yield state_of(job, texts)
    yield state_of(job, texts)
    if job.status not in (0, 143):
        raise mistake(job.tail().splitlines()[-1] if job.tail() else texts("failed"))
