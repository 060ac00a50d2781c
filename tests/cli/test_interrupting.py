from __future__ import annotations

import os
import signal
from threading import Thread

import pytest

from stepedit_core.cli.interrupting import sigterm_interrupts


def test_sigterm_is_an_interrupt_inside_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts() as came:
        os.kill(os.getpid(), signal.SIGTERM)
    assert came == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_the_handler_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found: list[tuple[list[int], object]] = []

    def work() -> None:
        with sigterm_interrupts() as came:
            found.append((came, signal.getsignal(signal.SIGTERM)))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert found == [([], before)]
