"""The studio's pages, one in each language, as an application that answers to this machine alone."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from polymodal.studio.frames import FITTING
from polymodal.studio.tabs import fill, score, use
from polymodal.studio.tabs.data import DataTab
from polymodal.studio.tabs.train import TrainTab
from polymodal.studio.texts import LANGUAGES, Texts, preferred
from polymodal.studio.workspace import Workspace

HOST = "127.0.0.1"
_STYLE = """
iframe.page { width: 100%; height: 24rem; border: 1px solid var(--border-color-primary); border-radius: 8px; }
.curves, .samples > div { display: flex; flex-wrap: wrap; gap: 1rem; }
.curves figure, .samples figure { margin: 0; max-width: 100%; }
.curves figure { width: 18rem; }
.curves svg { display: block; width: 100%; height: 7rem; }
.curves path { fill: none; stroke: var(--color-accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.curves path.dashed { stroke-dasharray: 4 3; }
.samples img { image-rendering: pixelated; max-width: 100%; }
.samples pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 20rem; overflow: auto; }
.command textarea { font-family: var(--font-mono); font-size: var(--text-sm); }
"""


def make_app(work: Workspace) -> FastAPI:
    """The application: a page at ``/en`` and at ``/zh``; ``/`` leads to the one that the browser prefers."""
    os.environ.setdefault("GRADIO_TEMP_DIR", str(work.folder.absolute() / "files"))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        work.close()

    app = FastAPI(lifespan=lifespan)
    # A page of the web whose name leads to this machine has that name as its host.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    @app.get("/")
    def home(request: Request) -> RedirectResponse:
        return RedirectResponse(f"/{preferred(request.headers.get('accept-language', ''))}/")

    @app.get("/manifest.json")  # Gradio's page asks for both
    def manifest() -> JSONResponse:
        return JSONResponse({"name": "polymodal studio"})

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    for language in LANGUAGES:
        app = gr.mount_gradio_app(
            app, make_page(work, Texts(language)), f"/{language}", theme=theme, css=_STYLE, js=f"() => {{{FITTING}}}",
            footer_links=[], server_name=HOST, show_error=True, ssr_mode=False, mcp_server=False, pwa=False,
            allowed_paths=[str(work.folder.absolute())],
        )  # fmt: skip
    return app


def make_page(work: Workspace, texts: Texts) -> gr.Blocks:
    """The page in one language."""
    others = " · ".join(f"[{name}](/{code}/)" for code, name in LANGUAGES.items() if code != texts.language)
    with gr.Blocks(analytics_enabled=False, title=texts("title"), fill_width=True) as page:
        gr.Markdown(f"## {texts('title')}\n{texts('intro')} {others}")
        run = gr.Dropdown(
            work.run_names(), value=None, label=texts("run"), info=texts("run.info"), allow_custom_value=True,
            elem_id="run",
        )  # fmt: skip
        with gr.Tab(texts("data"), id="data"):
            data = DataTab(work, texts)
        with gr.Tab(texts("train"), id="train"):
            train = TrainTab(work, texts, data, run)
        with gr.Tab(texts("use"), id="use"):
            use.build(work, texts, run)
        with gr.Tab(texts("fill"), id="fill"):
            fill.build(work, texts, run)
        with gr.Tab(texts("score"), id="score"):
            score.build(work, texts, run)
        page.load(*train.resume)
        page.load(lambda chosen: gr.Dropdown(choices=work.run_names(), value=chosen or work.run or None), run, run)
    return page.queue(default_concurrency_limit=4)
