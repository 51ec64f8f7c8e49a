"""A cluster of Ray: the one at an address, the one that runs here, or one that is begun on this machine alone."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from polymodal import stopping
from polymodal.errors import ConfigError

_ANSWER_SECONDS = 10.0
"""In which a head answers. Ray itself would look for it for minutes, and say nothing."""
_NAMES = ("auto", "local")
"""Addresses of Ray that are no place."""


@contextmanager
def needed() -> Iterator[None]:
    """In which Ray is imported.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigError("engine: ray is not installed; pip install 'polymodal[scale]'") from error


def connect(address: str | None, *, log_to_driver: bool = False) -> bool:
    """Connects this process to a cluster, unless it is connected already.

    Args:
        address: ``HOST:PORT`` of the cluster's head; None for what ``RAY_ADDRESS`` names, else one that is running on
            this machine, else one that is begun here and now.
        log_to_driver: Whether what the cluster's processes print is printed here.

    Returns:
        Whether it was not connected before.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers at the address.
    """
    with needed():
        import ray
        import ray.exceptions

    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported, nor collected by one more process
    place = address or os.environ.get("RAY_ADDRESS")
    if place and place not in _NAMES:
        _check_answers(place)
    try:
        with stopping.handlers_kept():
            ray.init(
                address=address, include_dashboard=False, log_to_driver=log_to_driver, logging_level=logging.WARNING
            )
    except (ConnectionError, ValueError, ray.exceptions.RayError) as error:
        if not place:
            raise
        raise ConfigError(f"address: '{place}': {' '.join(str(error).split())}") from error
    return True


def _check_answers(address: str) -> None:
    """Whether anything answers at ``HOST:PORT`` or ``ray://HOST:PORT``.

    Raises:
        ConfigError: Nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"address: no cluster of Ray answers at '{address}' ({error}); HOST:PORT is right, as `ray start --head` "
            "says it"
        ) from error
