"""Errands: work whose results are wanted later, done by helper threads while the caller goes on.

The caller that wants a result does what no helper has begun. Helpers live as long as there is work: a process
that waits, ends or forks has none.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Errand(Generic[T]):
    """Work that is done once, by whoever comes first."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._turn = threading.Lock()
        self._value: T
        self._error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self._work is None

    def run(self) -> None:
        """Do it, or wait for whoever is at it."""
        with self._turn:
            if self._work is None:
                return
            try:
                self._value = self._work()
            except Exception as error:  # not an interrupt, after which it is still to be done
                self._error = error
            self._work = None

    def result(self) -> T:
        """What came of it. Raises what the work raised."""
        self.run()
        if self._error is not None:
            raise self._error
        return self._value


class Errands:
    """A queue of errands. A helper starts when a second one waits: of a single one the caller does better."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In the child of a fork: no helper came along."""
        self._lock = threading.Lock()
        self._waiting: deque[Errand] = deque()
        self._helpers = 0

    def give(self, work: Callable[[], T], helpers: int) -> Errand[T]:
        """Work for later; at most so many helpers are at errands at once."""
        errand = Errand(work)
        with self._lock:
            while self._waiting and self._waiting[0].is_done:
                self._waiting.popleft()
            self._waiting.append(errand)
            starts = len(self._waiting) > 1 and self._helpers < helpers
            self._helpers += starts
        if starts:
            threading.Thread(target=self._help, name="lazygrad-errands").start()
        return errand

    def _help(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._helpers -= 1
                    return
                errand = self._waiting.popleft()
            errand.run()
