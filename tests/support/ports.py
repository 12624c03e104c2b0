"""Ports for servers that can't choose one themselves."""

from __future__ import annotations

import random
import socket

# Below those that the system gives out by itself, also to clients: one of these is still free a moment later.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of the loopback that nothing uses. Other tests look for one at the same time, so it is one by chance.

    Raises:
        OSError: if there is none.
    """
    for port in random.SystemRandom().sample(PORTS, 100):  # not by the seed, which is the same in all test processes
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")
