# SPDX-License-Identifier: Apache-2.0
"""Threads that share pieces of work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class ThreadPool:
    """So many threads for pieces of work that release the GIL; one of them is the caller's.

    Unlike a pool's whole pool the caller is awake already, and where the cores are busy with something else it does all
    of the work instead of waiting for those who do not come.

    threads: the caller's among them; 1 is the caller alone.
    """

    def __init__(self, threads: int, name: str) -> None:
        self.threads = max(1, threads)
        self._helpers = ThreadPoolExecutor(self.threads - 1, thread_name_prefix=name) if self.threads > 1 else None

    def map(self, function: Callable[[int], Result], count: int) -> list[Result]:
        """[function(0), ..., function(count - 1)]; whoever is free takes the next one.

        Nothing is running any more when it returns, also where it raises what a piece has raised.
        """
        results: list = [None] * count
        pieces = iter(range(count))  # asked for the next one by several threads: a single step of the interpreter

        def work() -> None:
            for k in pieces:
                results[k] = function(k)

        called = [self._helpers.submit(work) for _ in range(min(self.threads, count) - 1)] if self._helpers else []
        failed = None
        try:
            work()
        except BaseException as error:
            failed = error
            for _ in pieces:  # the others find nothing left
                pass
        for helper in called:
            if not helper.cancel() and (error := helper.exception()):
                failed = failed or error
        if failed:
            raise failed
        return results
