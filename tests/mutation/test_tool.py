# SPDX-License-Identifier: Apache-2.0
"""The mutation run itself: what it breaks, that it notices, that it runs no kernel from before, what it counts."""

import ast

import pytest
from mutation import judge
from mutation.named import NAMED
from mutation.named import job as named_job
from mutation.operators import mutants_of
from mutation.report import below_bar, survivors, table
from mutation.run import Job, read_records, record, run
from mutation.sampling import drawn
from mutation.targets import TARGETS
from mutation.tree import importers
from shared_data import ROOT

TOY = '''"""A toy. 1 + 1"""
LEAST = 2


def clipped(x: int = 7) -> int:
    """No less than LEAST."""
    if x < LEAST:
        return LEAST
    return x + 0


def count(n):
    k = 0
    while k < n:
        k += 1
    return k
'''
STRONG = '''from dinemo_ros.toy import clipped, count


def test_toy():
    assert [clipped(x) for x in (0, 1, 2, 3)] == [2, 2, 2, 3] and clipped() == 7
    assert [count(n) for n in (0, 3)] == [0, 3]
'''
WEAK = "from dinemo_ros.toy import clipped\n\n\ndef test_toy():\n    assert clipped(7) > 2\n"


@pytest.fixture
def project(tmp_path):
    """A function makes a project of modules and one test file."""
    def make(test: str, **modules: str):
        package = tmp_path / "project" / "src" / "dinemo_ros"
        package.mkdir(parents=True)
        for name, text in {"__init__": "", **modules}.items():
            (package / f"{name}.py").write_text(text)
        (tmp_path / "project" / "tests").mkdir()
        (tmp_path / "project" / "tests" / "test_toy.py").write_text(test)
        return tmp_path / "project"
    return make


def outcomes(project, module: str, scratch, only=None, processes: int = 1) -> dict[str, str]:
    """Outcome by ``operator: before -> after`` of every mutant of the module."""
    path, found = f"src/dinemo_ros/{module}.py", {}
    mutants = mutants_of(path, (project / path).read_text())
    run(project, scratch, [Job(m, ["tests/test_toy.py"]) for m in mutants if only is None or only(m)], processes,
        lambda job, verdict: found.update({f"{job.mutant.before} -> {job.mutant.after}": verdict.outcome}))
    return found


def test_a_good_test_notices_every_mutant_that_computes_something_else(project, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "CPU_LIMIT_S", 2)
    root = project(STRONG, toy=TOY)
    found = outcomes(root, "toy", tmp_path / "scratch", processes=2)
    equivalent = {"x < LEAST -> (x <= LEAST)", "x + 0 -> (x - 0)"}
    assert {name for name, outcome in found.items() if outcome == "survived"} == equivalent
    assert found["k += 1 -> k -= 1"] == found["k += 1 -> pass"] == "timeout"
    assert found["2 -> (1)"] == found["return LEAST -> return None"] == "killed" and len(found) > 10
    assert (root / "src/dinemo_ros/toy.py").read_text() == TOY, "the checkout was edited"


def test_a_weak_test_lets_mutants_live(project, tmp_path):
    found = outcomes(project(WEAK, toy=TOY), "toy", tmp_path / "scratch", only=lambda m: m.function == "clipped")
    assert found["x < LEAST -> (x >= LEAST)"] == "killed" and found["7 -> (6)"] == "survived"


def test_tests_that_fail_by_themselves_judge_nothing(project, tmp_path):
    with pytest.raises(RuntimeError, match="test_toy.py::test_wrong fails without a mutant"):
        outcomes(project("def test_wrong():\n    assert False\n", toy=TOY), "toy", tmp_path / "scratch")


def test_a_kernel_is_compiled_again_when_what_it_imports_is_broken(project, tmp_path):
    """numba's cache alone would run the old sum: the file of the caller has not changed."""
    jit = ("import numba\n\n\ndef kernel(function):\n    return numba.njit(cache=True)(function)\n")
    inner = "from .jit import kernel\n\n\n@kernel\ndef inner(x):\n    return x + 2.0\n"
    outer = "from .inner import inner\nfrom .jit import kernel\n\n\n@kernel\ndef outer(x):\n    return inner(x)\n"
    test = "from dinemo_ros.outer import outer\n\n\ndef test_toy():\n    assert outer(1.0) == 3.0\n"
    found = outcomes(project(test, jit=jit, inner=inner, outer=outer), "inner", tmp_path / "scratch")
    assert found == {"x + 2.0 -> (x - 2.0)": "killed", "2.0 -> (3.0)": "killed",
                     "return x + 2.0 -> return -(x + 2.0)": "killed"}


def test_whoever_imports_a_file_is_known():
    package = ROOT / "src" / "dinemo_ros"
    names = {p.name for p in importers(package)[package / "solver" / "linear.py"]}
    assert {"likelihood.py", "compare.py", "refine.py", "crop_solver.py", "estimator.py"} <= names
    assert "linear.py" not in names and "visibility.py" not in names


def test_messages_docstrings_annotations_and_timings_are_left_alone():
    text = ('"""Doc 1."""\ndef f(x: list[1]) -> 2:\n    """Doc 3."""\n    begin = time.perf_counter() + 4\n'
            '    raise ValueError(f"{x + 5} " "6")\n')
    assert [m.operator for m in mutants_of("f.py", text)] == ["removed statement"]


def test_every_mutant_of_the_targets_is_python_and_has_a_key_of_its_own():
    for target in TARGETS:
        path = f"src/dinemo_ros/{target.path}"
        text = (ROOT / path).read_text()
        mutants = mutants_of(path, text)
        assert len({m.key for m in mutants}) == len(mutants)
        for m in mutants[::30]:
            assert ast.parse(m.applied(text)) and m.applied(text) != text


def test_the_sample_is_large_enough_and_the_same_each_time():
    sample = [m for target in TARGETS for m in drawn(ROOT, target)]
    assert len(sample) >= 150 and sum(m.in_kernel for m in sample) >= 60
    assert [m.key for m in sample] == [m.key for target in TARGETS for m in drawn(ROOT, target)]
    assert len({m.key for target in TARGETS for m in drawn(ROOT, target, seed=1)} & {m.key for m in sample}) < 100


def test_a_key_outlives_lines_that_come_and_go():
    keys = [m.key for m in mutants_of("toy.py", TOY)]
    assert [m.key for m in mutants_of("toy.py", TOY.replace('"""\nLEAST', '"""\n\n# more\n\nLEAST'))] == keys


def test_named_mutants_name_lines_that_are_there():
    for named in NAMED:
        m = named_job(ROOT, named).mutant
        ast.parse(m.applied((ROOT / m.path).read_text()))
    with pytest.raises(ValueError, match="stands 0 times in .*tracker.py; name the line as it is now"):
        named_job(ROOT, NAMED[0]._replace(path="tracker.py"))


def test_the_report_counts_honestly(tmp_path):
    mutants = mutants_of("src/dinemo_ros/toy.py", TOY)[:4]
    verdicts = [judge.Verdict(outcome, "", 1.0) for outcome in ("killed", "timeout", "survived", "survived")]
    records = [record(m, v) for m, v in zip(mutants, verdicts, strict=True)]
    judgements = {records[2]["key"]: {"verdict": "equivalent", "why": "the same"}}
    assert "| **all** | 4 | 1 | 1 | 2 | 1 | 50 % | 67 % |" in table(records, judgements)
    assert below_bar(records, judgements) == ["all"] and below_bar(records[:2], {}) == []
    listed = survivors(records, judgements)
    assert "the same" in listed and "not judged yet" in listed and listed.count("\n") == 3


def test_an_interrupted_line_is_judged_again(tmp_path):
    file = tmp_path / "outcomes.jsonl"
    file.write_text('{"key": "a", "outcome": "survived"}\n{"key": "a", "outcome": "killed"}\n{"key": "b", "outc')
    assert read_records(file) == {"a": {"key": "a", "outcome": "killed"}}
