# SPDX-License-Identifier: Apache-2.0
"""Command line of the mutation run; see ``scripts/mutants.sh``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from .judge import Verdict
from .named import NAMED
from .named import job as named_job
from .report import below_bar, survivors, table
from .run import Job, read_records, record, run
from .sampling import SEED, drawn
from .targets import SLOW, TARGETS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUTCOMES, JUDGEMENTS, REPORT = HERE / "outcomes.jsonl", HERE / "judgements.json", HERE / "RESULTS.md"


def main() -> int:
    """0 where every named mutant and enough of the sampled ones were noticed."""
    options = _options()
    judgements = json.loads(JUDGEMENTS.read_text()) if JUDGEMENTS.exists() else {}
    targets = [t for t in TARGETS if not options.only or t.path in options.only]
    named = [named_job(ROOT, n) for n in NAMED if not options.only or n.path in options.only]
    left_out = SLOW if options.quick else ()
    sampled = [Job(m, [test for test in t.tests if test not in left_out])
               for t in targets for m in drawn(ROOT, t, options.seed)]
    known = read_records(options.outcomes)
    wanted_now = named if options.named else sampled if options.sampled else named + sampled
    jobs = [j for j in wanted_now if j.mutant.key not in known or known[j.mutant.key]["outcome"] in options.again]
    if not options.report:
        _judge_all(jobs, options)
        known = read_records(options.outcomes)
    wanted = [j.mutant.key for j in sampled]
    records = [known[key] for key in wanted if key in known]
    alive = [j.mutant.operator for j in named
             if known.get(j.mutant.key, {}).get("outcome", "survived") == "survived"]  # or was not judged at all
    text = _text(records, judgements, len(named), alive, options.seed, len(wanted) - len(records))
    print(text)
    if options.outcomes == OUTCOMES and not options.only:
        REPORT.write_text(text + "\n")
    low = below_bar(records, judgements)
    missing = 0 if options.named else len(wanted) - len(records)
    return 1 if low or missing or (alive and not options.sampled) else 0


def _judge_all(jobs: list[Job], options: argparse.Namespace) -> None:
    with options.outcomes.open("a") as out:
        count = 0

        def done(job: Job, verdict: Verdict) -> None:
            nonlocal count
            count += 1
            m = job.mutant
            out.write(json.dumps(record(m, verdict)) + "\n")
            out.flush()
            print(f"{count}/{len(jobs)} {m.path}:{m.line} {m.operator}: {verdict.outcome} in {verdict.seconds:.0f} s "
                  f"{verdict.by}", file=sys.stderr, flush=True)

        with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
            run(ROOT, Path(scratch), jobs, options.processes, done,
                lambda text: print(text, file=sys.stderr, flush=True))


def _text(records: list[dict], judgements: dict, named: int, alive: list[str], seed: int, unjudged: int) -> str:
    waiting = (f" Of {len(records) + unjudged} drawn mutants {unjudged} are not judged yet, or not since their lines "
               "changed, and are left out below.") if unjudged else ""
    left = f"; alive or not judged: {', '.join(alive)}" if alive else ""
    return "\n".join([
        "# Mutants", "", f"Written by `scripts/mutants.sh`, seed {seed}. Of {named} named mutants {named - len(alive)} "
        f"were noticed{left}.{waiting}", "", table(records, judgements), "", "## Survivors", "",
        survivors(records, judgements)])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutants.sh", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="FILE",
                        help="as solver/refine.py, below src/dinemo_ros")
    parser.add_argument("--named", action="store_true", help="the named mutants only")
    parser.add_argument("--sampled", action="store_true", help="the sampled mutants only")
    parser.add_argument("--again", nargs="+", default=[], choices=["survived", "killed", "timeout"],
                        help="judge those with such an outcome once more")
    parser.add_argument("--quick", action="store_true", help="leave out the slow tests: what survives is to be judged "
                        "once more by all of them")
    parser.add_argument("--report", action="store_true", help="judge nothing, print what is known")
    parser.add_argument("--processes", type=int, choices=[1, 2], default=2, help="copies that are judged at once")
    parser.add_argument("--seed", type=int, default=SEED, help="of the sample")
    parser.add_argument("--outcomes", type=Path, default=OUTCOMES, help="JSON lines, continued where they end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
