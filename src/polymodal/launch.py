"""``torchrun`` for training, which ends as the processes do that it started: with 143 after SIGTERM, 130 after Ctrl-C.

    python -m polymodal.launch --nproc_per_node 8 -m polymodal train any-to-any --data rows.parquet -o runs/mine

Schedulers tell by that status a training that was asked to stop, which goes on later, from one that failed. A signal
reaches every process; they finish the step in work and save it, for which ``--shutdown-timeout`` gives them time.
"""

import sys
from collections.abc import Sequence

STOPPED = (129, 130, 143)
"""Exit statuses of processes that a signal asked to stop."""
TIMEOUT = "--shutdown-timeout=110"
"""Schedulers mostly leave two minutes."""


def main(arguments: Sequence[str]) -> int:
    """Runs ``torchrun``.

    Args:
        arguments: Of ``torchrun``.

    Returns:
        0; 128 and the number of the signal that stopped the processes; else 1, or the status of the first that failed.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun([TIMEOUT, *arguments])
    except SignalException as signal:
        return 128 + int(signal.sigval)
    except ChildFailedError as error:
        statuses = [failure.exitcode for failure in error.failures.values()]
        stopped = [status for status in statuses if status in STOPPED]
        print(f"polymodal: {error.name}: processes ended with {statuses}", file=sys.stderr)
        return stopped[0] if stopped else max(statuses[0], 1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
