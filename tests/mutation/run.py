# SPDX-License-Identifier: Apache-2.0
"""Judges mutants in copies of the tree, one after another in each, and keeps every outcome as soon as it is known."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from .judge import Verdict, judged
from .operators import Mutant
from .tree import Tree


class Job(NamedTuple):
    """A mutant and the tests that judge it."""

    mutant: Mutant
    tests: Sequence[str]


class _Copy:
    """One copy of the tree, with the tests that were seen to pass in it without a mutant."""

    def __init__(self, tree: Tree, say: Callable[[str], None]) -> None:
        self._tree, self._say, self._sound = tree, say, set()

    def pass_unbroken(self, tests: Sequence[str]) -> None:
        """See ``tests`` pass, which fills the kernel cache as well; at once if they were seen before."""
        if self._sound.issuperset(tests):
            return
        verdict = judged(self._tree.root, tests, self._tree.environment())
        if verdict.outcome != "survived":
            raise RuntimeError(f"{verdict.by} fails without a mutant")
        self._sound.update(tests)
        self._say(f"{len(tests)} tests or files of them pass in {verdict.seconds:.0f} s without a mutant")

    def verdict(self, job: Job) -> Verdict:
        self.pass_unbroken(job.tests)
        tree, mutant = self._tree, job.mutant
        text = mutant.applied((tree.root / mutant.path).read_text())
        with tree.broken(mutant.path, text) as environment:
            return judged(tree.root, job.tests, environment)


def run(root: Path, scratch: Path, jobs: Iterable[Job], processes: int, done: Callable[[Job, Verdict], None],
        say: Callable[[str], None] = lambda text: None, together: bool = False) -> None:
    """Judge ``jobs``, calling ``done`` for each as it ends, in ``processes`` copies of ``root`` below ``scratch``.

    together: all tests run once in each copy before the first mutant, which saves starts where the jobs are few.

    Raises RuntimeError where the tests of an unbroken copy fail: then a failure says nothing about a mutant.
    """
    waiting: SimpleQueue[Job] = SimpleQueue()
    tests: dict[str, None] = {}  # in order
    for job in jobs:
        waiting.put(job)
        tests.update(dict.fromkeys(job.tests))
    errors: list[BaseException] = []
    keep = threading.Lock()

    def work(k: int) -> None:
        try:
            copy = _Copy(Tree(root, scratch / f"copy{k}"), say)
            if together:
                copy.pass_unbroken(list(tests))
            while not errors:
                try:
                    job = waiting.get_nowait()
                except Empty:
                    return
                verdict = copy.verdict(job)
                with keep:
                    done(job, verdict)
        except BaseException as error:  # of a thread: told by the caller
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def record(mutant: Mutant, verdict: Verdict) -> dict:
    """What is kept of an outcome."""
    kept = {name: value for name, value in asdict(mutant).items() if name not in ("start", "end", "occurrence")}
    return {"key": mutant.key, **kept, "outcome": verdict.outcome, "by": verdict.by,
            "seconds": round(verdict.seconds, 1)}


def read_records(path: Path) -> dict[str, dict]:
    """Outcomes by key; of several for one key the last. A line that an interruption cut off is left out."""
    records = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        records[entry["key"]] = entry
    return records
