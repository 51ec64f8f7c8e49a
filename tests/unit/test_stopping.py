"""Signals: the first waits for what is in work, where there is such; a second one does not."""

import os
import signal
import threading
from contextlib import nullcontext, suppress

import pytest

import polymodal as pm
from polymodal import stopping
from polymodal.cli.main import main

STATUSES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch, signals):
    """Two signals are two, however soon."""
    monkeypatch.setattr(stopping, "_SAME_SECONDS", 0.0)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def stopped_in(work, *, finishing: bool = True) -> stopping.Stopped:
    """Does work as a command would; gives what stopped it."""

    def run() -> None:
        with stopping.handle_signals(), stopping.finishing() if finishing else nullcontext():
            work()

    with pytest.raises(stopping.Stopped) as stopped:
        run()
    return stopped.value


@pytest.mark.parametrize("number", STATUSES)
def test_outside_of_work_a_signal_stops_at_once(number):
    before = signal.getsignal(number)
    done = []
    stopped = stopped_in(lambda: done.extend([send(number), "went on"]), finishing=False)
    assert not done
    assert stopped.status == STATUSES[number]
    assert (signal.getsignal(number), stopping.asked()) == (before, 0)


@pytest.mark.parametrize("number", STATUSES)
def test_work_is_finished_first(number, capfd):
    done = []

    def work() -> None:
        for step in range(3):
            done.append(step)
            if step == 1:
                send(number)
                done.append("after it")
            stopping.stop_if_asked()

    stopped = stopped_in(work)
    assert done == [0, 1, "after it"]
    assert stopped.number == number
    assert "once more stops at once" in capfd.readouterr().err


def test_a_second_signal_stops_work():
    done = []

    def work() -> None:
        send(signal.SIGTERM)
        done.append("first")
        send(signal.SIGINT)
        done.append("second")

    stopped = stopped_in(work)
    assert (done, stopped.number) == (["first"], signal.SIGINT)


def test_what_a_launcher_and_a_terminal_send_at_once_is_one(monkeypatch):
    monkeypatch.setattr(stopping, "_SAME_SECONDS", 60.0)
    done = []

    def work() -> None:
        send(signal.SIGINT)
        send(signal.SIGTERM)
        done.append("both")

    stopped = stopped_in(work)
    assert (done, stopped.number) == (["both"], signal.SIGINT)


def test_work_that_never_asks_stops_at_its_end():
    done = []

    def work() -> None:
        with stopping.finishing(), stopping.finishing():
            send(signal.SIGTERM)
            done.append("work")
        done.append("went on")

    stopped_in(work, finishing=False)
    assert done == ["work"]


def test_what_was_to_be_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stopping.handle_signals():
            send(signal.SIGHUP)
            assert stopping.asked() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_a_command_only_control_c_is_seen_to():
    before = [signal.getsignal(number) for number in STATUSES]
    seen = []

    def work() -> None:
        with stopping.finishing():
            send(signal.SIGINT)
            seen.extend([signal.getsignal(signal.SIGTERM), stopping.asked()])

    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [before[1], signal.SIGINT]
    assert [signal.getsignal(number) for number in STATUSES] == before


def test_another_thread_leaves_signals_alone():
    seen = []

    def work() -> None:
        with stopping.handle_signals(), stopping.finishing():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("error", [RecursionError("numpy is half imported"), ImportError("x"), pm.DataError("y")])
def test_what_a_signal_interrupts_may_come_out_as_any_error(error, monkeypatch, capsys):
    """A library that was interrupted can swallow the signal, and fail later; without a signal, it is an error."""
    interrupt = True

    def run(_):
        with suppress(KeyboardInterrupt):
            if interrupt:
                os.kill(os.getpid(), signal.SIGTERM)
        raise error

    monkeypatch.setattr("polymodal.cli.info.run", run)
    assert main(["info", "x"]) == 143
    assert capsys.readouterr().err == "polymodal: stopped\n"
    interrupt = False
    if isinstance(error, pm.DataError):
        assert main(["info", "x"]) == 2
    else:
        with pytest.raises(type(error)):
            main(["info", "x"])


def test_a_list_of_files_that_was_cut_short_is_mended(tmp_path):
    """What `fill` made is listed by name; the next name begins a line of its own."""
    from types import SimpleNamespace

    from polymodal.fill import _MADE, _Job

    job = SimpleNamespace(files=tmp_path, made={"picture-2.png": b"2"}, table=SimpleNamespace(embeds=False))
    (tmp_path / _MADE).write_bytes(b"picture-1.png\npictu")
    _Job._write_files(job)
    assert _Job._older_files(job) == {"picture-1.png", "pictu", "picture-2.png"}
    assert (tmp_path / "picture-2.png").read_bytes() == b"2"
