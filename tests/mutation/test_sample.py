# SPDX-License-Identifier: Apache-2.0
"""Every named mutant and a handful of the sampled ones, broken anew: each must be noticed. A minute, two cores."""

import sys

import pytest
from mutation.__main__ import OUTCOMES
from mutation.named import NAMED
from mutation.named import job as named_job
from mutation.run import Job, read_records, run
from mutation.sampling import drawn
from mutation.targets import TARGETS
from shared_data import ROOT

_QUICK = ("geometry.py", "model/symmetry.py", "tracker.py", "features/parity.py", "detection/sliding_window.py",
          "solver/linear.py", "solver/support_term.py")


def quick_jobs() -> list[Job]:
    """Of each quick file the first mutant that the first of its tests noticed in the last whole run."""
    known, jobs = read_records(OUTCOMES), []
    assert set(_QUICK) <= {target.path for target in TARGETS}, "a file of _QUICK was renamed: name it as it is now"
    for target in (t for t in TARGETS if t.path in _QUICK):
        first = target.tests[0]
        noticed = [m for m in drawn(ROOT, target) if known.get(m.key, {}).get("by", "").startswith(first)]
        assert noticed, f"{OUTCOMES.name} knows no mutant of {target.path} that {first} noticed: run scripts/mutants.sh"
        jobs.append(Job(noticed[0], [first]))
    return jobs


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """By key of the mutant."""
    found = {}
    jobs = [named_job(ROOT, named) for named in NAMED] + quick_jobs()
    run(ROOT, tmp_path_factory.mktemp("copies"), jobs, 2,
        lambda job, verdict: found.update({job.mutant.key: (verdict, job.mutant)}),
        lambda text: print(text, file=sys.stderr), together=True)
    return found


@pytest.mark.parametrize("named", NAMED, ids=[named.name for named in NAMED])
def test_a_named_mutant_is_noticed(outcomes, named):
    verdict, _ = outcomes[named_job(ROOT, named).mutant.key]
    assert verdict.outcome == "killed", f"{named.test} passes although {named.path} is broken: {named.name}"
    assert verdict.by.startswith(named.test), f"not {named.test} but {verdict.by} noticed: {named.name}"


def test_sampled_mutants_are_noticed(outcomes):
    for job in quick_jobs():
        verdict, m = outcomes[job.mutant.key]
        assert verdict.outcome != "survived", f"{m.path}:{m.line}: {job.tests} pass with {m.after!r} for {m.before!r}"
