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


def run(root: Path, scratch: Path, jobs: Iterable[Job], processes: int, done: Callable[[Job, Verdict], None],
        say: Callable[[str], None]) -> None:
    """Judge ``jobs``, calling ``done`` for each as it ends, in ``processes`` copies of ``root`` below ``scratch``.

    Raises RuntimeError where the tests of an unbroken copy fail: then a failure says nothing about a mutant.
    """
    waiting: SimpleQueue[Job] = SimpleQueue()
    for job in jobs:
        waiting.put(job)
    errors: list[BaseException] = []
    keep = threading.Lock()

    def work(k: int) -> None:
        try:
            tree, sound = Tree(root, scratch / f"copy{k}"), set()
            while not errors:
                try:
                    job = waiting.get_nowait()
                except Empty:
                    return
                if tuple(job.tests) not in sound:
                    verdict = judged(tree.root, job.tests, tree.environment())  # fills the kernel cache as well
                    if verdict.outcome != "survived":
                        raise RuntimeError(f"{verdict.by} fails without a mutant")
                    sound.add(tuple(job.tests))
                    say(f"{job.mutant.path}: its tests pass in {verdict.seconds:.0f} s without a mutant")
                text = job.mutant.applied((tree.root / job.mutant.path).read_text())
                with tree.broken(job.mutant.path, text) as environment:
                    verdict = judged(tree.root, job.tests, environment)
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
