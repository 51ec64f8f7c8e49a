"""How far something is: lines where there is no bar, one at least every so often, and none where nobody asked."""

import builtins
import logging
import time

import pytest

import polymodal.progress as module
from polymodal.progress import Progress, messages_shown


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "LINE_SECONDS", 0.05)


def test_a_line_comes_even_while_nothing_moves(quick, caplog):
    caplog.set_level(logging.INFO, "polymodal")
    with Progress("counting") as bar:
        bar.at(0.5, "row 7", left=83.0)
        time.sleep(0.3)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "counting  50%  1:23 left  row 7"
    assert lines[1].startswith(f"{lines[0]}  (")
    assert len(lines) >= 3


def test_what_was_short_is_told_once_at_its_end(caplog):
    caplog.set_level(logging.INFO, "polymodal")
    with Progress("counting") as bar:
        bar.at(1.0, "row 9", left=0.0)
    with Progress("silent", shown=False) as bar:
        bar.at(1.0, "row 9")
    assert [record.getMessage() for record in caplog.records] == ["counting 100%  0:00 left  row 9"]


def test_a_terminal_shows_names_and_texts_as_they_are(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with Progress("training codec of [/x]") as bar:
        bar.at(0.5, "[red]row[/y]", left=0.0)
    shown = capsys.readouterr().err
    assert "training codec of [/x]" in shown
    assert "[red]row[/y]" in shown


def test_a_notebook_gets_one_bar_that_changes(monkeypatch):
    shell = pytest.importorskip("IPython.core.interactiveshell")

    class ZMQInteractiveShell(shell.InteractiveShell):
        """The name of Jupyter's."""

    jupyter, sent = ZMQInteractiveShell.instance(), []
    monkeypatch.setattr(builtins, "get_ipython", lambda: jupyter, raising=False)
    monkeypatch.setattr(
        jupyter.display_pub, "publish", lambda data, update=False, **_: sent.append((update, data["text/html"]))
    )
    try:
        with Progress("<b>counting") as bar:
            bar.at(0.25, "row 3", left=3.0)
    finally:
        ZMQInteractiveShell.clear_instance()
    assert [update for update, _ in sent] == [False, *[True] * (len(sent) - 1)]
    assert '<progress value="0.2500"' in sent[-1][1]
    assert "&lt;b&gt;counting" in sent[-1][1]
    assert "0:03 left  row 3" in sent[-1][1]


def test_messages_are_printed_only_where_no_program_has_set_up_its_own(capsys, monkeypatch):
    logger = logging.getLogger("polymodal")
    assert any(isinstance(handler, logging.NullHandler) for handler in logger.handlers)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with messages_shown():
        logging.getLogger("polymodal.training").info("a message")
        logger.warning("a warning")
    logger.warning("after")
    assert capsys.readouterr() == ("a message\n", "polymodal: warning: a warning\n")
    mine = logging.StreamHandler()
    logger.addHandler(mine)
    try:
        with messages_shown():
            logger.info("a message")
    finally:
        logger.removeHandler(mine)
    assert capsys.readouterr().out == ""
