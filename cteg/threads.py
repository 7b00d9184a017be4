"""How the processor's threads wait."""

from __future__ import annotations

import os


def wait_without_spinning() -> None:
    """Let idle threads sleep, unless the environment says otherwise. Has to run before torch is imported.

    A step of decoding is some thirty small products, each shared by all threads, and by default a thread that is done
    spins until the others are. On a machine whose cores do other work as well, it spins away the time that the others
    wait for: four samples took 20 to 39 s with two threads that spin, 0.6 to 0.8 s with two that sleep or with one.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
