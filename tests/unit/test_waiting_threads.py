"""How long OpenMP's threads look for one another is set before PyTorch is loaded, where the user has not said it."""

import os
import subprocess
import sys

import pytest

SHOW = "import polymodal, os; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(
    ("given", "before", "seen"),
    [
        ({}, "", "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "", "7"),
        ({"OMP_WAIT_POLICY": "passive"}, "", "None"),
        ({}, "import sys; sys.modules['torch'] = None; ", "None"),  # too late
    ],
)
def test_it_is_set_where_nobody_has(given, before, seen):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", before + SHOW], env=environment | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == seen
