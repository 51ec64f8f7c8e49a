"""What lies beside an exported file, to run it without polymodal."""

from importlib.resources import files
from pathlib import Path

from polymodal.files import write_file

RUNNER, DEMO = "runner.py", "demo.html"


def write_runner(model: Path) -> list[Path]:
    """Puts the runner, and the page that draws in a browser, beside a file; their paths.

    Args:
        model: The file, whose name the page opens.
    """
    home, written = files("polymodal.export"), []
    for name in (RUNNER, DEMO):
        text = home.joinpath(name).read_text(encoding="utf-8")
        write_file(model.with_name(name), text.replace("MODEL_FILE", model.name.replace('"', "&quot;")))
        written.append(model.with_name(name))
    return written
