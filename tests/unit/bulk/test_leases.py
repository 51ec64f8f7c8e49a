"""Leases: one holder at a time, and nobody's for ever."""

import subprocess
import sys
import time
from socket import gethostname

import pytest

from polymodal.bulk.leases import Leases
from polymodal.bulk.storage import Storage


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    return Storage(str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/{time.time_ns()}")


def test_a_lease_has_one_holder_until_it_is_given_back(storage):
    mine, others = Leases(storage), Leases(storage)
    with mine.hold("a") as held, others.hold("a") as held_too, others.hold("b") as other:
        assert (held, held_too, other) == (True, False, True)
    with others.hold("a") as held:
        assert held
    assert not storage.names()


def test_a_lease_without_a_sign_of_life_is_taken_over(storage):
    storage.create("a", b"elsewhere 1 x")
    leases = Leases(storage, seconds=0.2)
    with leases.hold("a") as held:
        assert not held  # it was seen for the first time
    storage.write("a", b"elsewhere 1 x 1")
    time.sleep(0.25)
    with leases.hold("a") as held:
        assert not held  # its holder lives
    time.sleep(0.25)
    with leases.hold("a") as held:
        assert held


def test_a_holder_gives_signs_of_life(storage):
    mine, others = Leases(storage, seconds=0.4), Leases(storage, seconds=0.4)
    with mine.hold("a"):
        for _ in range(4):
            with others.hold("a") as held:
                assert not held
            time.sleep(0.2)


def test_a_holder_of_this_machine_that_is_no_more_is_known_at_once(storage):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    storage.create("a", f"{gethostname()} {gone.pid} x".encode())
    with Leases(storage).hold("a") as held:
        assert held
