"""A thread that follows something for as long as its owner wants.

Purpose: the one way in which a reader or a copy begins and ends beside the program.
Invariants: begun once, and ended once: `stop` returns when the thread has. A program that ends
does not wait for it.
Limits: the thread's own function looks at `stopped`, and waits by it, so that it ends soon.
Source: threading.Event.
"""

import threading
from collections.abc import Callable


class Background:
    """Runs a function until it is told to stop."""

    def __init__(self, run: Callable[[], None], *, name: str) -> None:
        """Nothing runs before `start`."""
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=run, name=f"stillwatch-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the function to stop, and wait until it has."""
        self.stopped.set()
        if self._thread.is_alive():
            self._thread.join()
