"""Deliberate faults: where they go, which tests they meet, and what becomes of them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""A module."""


def area(height: int, width: int = 2) -> int | None:
    """Return it."""
    return scaled(height, width, by=3)


def scaled(height: int, width: int, by: int = 1) -> int:
    return height * width * by if height else 0
'''
TESTS = """from faithful.area import area


def test_area():
    assert area({height}, 5) == {area}
"""


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """devtools/mutants.py as a module; what it imports lies beside it."""
    monkeypatch.syspath_prepend(str(ROOT / "devtools"))
    for name in ("mutants", "mutant_trials", "line_tests", "argument_faults", "env"):
        sys.modules.pop(name, None)
    return importlib.import_module("mutants")


@pytest.fixture
def checkout(mutants: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small checkout of its own, with one module that a test file claims."""
    files = {
        "nodes/area.py": SOURCE,
        "tests/claims.toml": '"nodes/*" = ["test_area.py"]\n',
        "tests/test_area.py": TESTS.format(height=4, area=60),
        "tests/conftest.py": "import sys, types\nfaithful = types.ModuleType('faithful')\n"
        "faithful.__path__ = ['nodes']\nsys.modules['faithful'] = faithful\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    return tmp_path


def test_every_module_is_claimed_by_test_files_that_are_there(mutants: ModuleType) -> None:
    for module in mutants.modules():
        files = mutants.claims(module)
        assert files, f"{module} is claimed by no test file"
        assert all((ROOT / file).is_file() for file in files), module


def test_faults_in_the_wiring_are_made_as_their_examples_say(mutants: ModuleType) -> None:
    from argument_faults import ARGUMENT_FAULTS
    from cosmic_ray.mutating import mutate_code

    for operator in ARGUMENT_FAULTS.values():
        for example in operator.examples():
            made = mutate_code(example.pre_mutation_code, operator(), example.occurrence)
            assert made == example.post_mutation_code


def test_what_changes_only_annotations_is_no_fault(mutants: ModuleType, checkout: Path) -> None:
    made = [mutants.mutant_at(place) for place in mutants.places("nodes/area.py")]
    lines = {(mutant.line, mutant.after) for mutant in made if mutant is not None}
    assert (6, "return scaled(width, height, by=3)") in lines
    assert (6, "return scaled(height, width)") in lines
    assert (6, "return scaled(height, width, by= 4)") in lines
    assert not any("int" in after and number == 4 for number, after in lines if "=" not in after)
    assert len({mutant.key for mutant in made if mutant}) == len([m for m in made if m])


def test_a_fault_is_noticed_or_survives_and_the_copy_is_sound_again(
    mutants: ModuleType, checkout: Path, tmp_path: Path
) -> None:
    trials = mutants.Trials(checkout, tmp_path / "trials")
    files = mutants.claims("nodes/area.py")
    found = {
        mutant.after: trials.is_noticed("nodes/area.py", mutant.code, [f"{files[0]}::test_area"])
        for place in mutants.places("nodes/area.py")
        if (mutant := mutants.mutant_at(place)) is not None
        and place.operator in ("SwapArguments", "DropKeyword")
    }
    assert found["return scaled(height, width)"] is True
    assert found["return scaled(width, height, by=3)"] is False  # the area is the same
    assert (trials.copy / "nodes" / "area.py").read_text(encoding="utf-8") == SOURCE


def test_a_fault_meets_the_tests_that_run_its_function(
    mutants: ModuleType, checkout: Path, tmp_path: Path
) -> None:
    tests = checkout / "tests" / "test_area.py"
    more = """
import pytest

@pytest.fixture(scope="module")
def shared():
    from faithful.area import scaled
    return scaled(2, 3)

def test_one(shared):
    assert shared == 6

def test_other(shared):
    assert shared

def test_nothing():
    pass
"""
    tests.write_text(tests.read_text("utf-8") + more, "utf-8")
    other = checkout / "tests" / "test_nothing.py"
    other.write_text("def test_nothing():\n    pass\n", "utf-8")
    trials = mutants.Trials(checkout, tmp_path / "trials")
    files = ["tests/test_area.py", "tests/test_nothing.py"]
    assert trials.chosen("nodes/area.py", 6, files) == [f"{files[0]}::test_area"]
    of_file = {f"{files[0]}::test_{name}" for name in ("area", "one", "other", "nothing")}
    assert set(trials.chosen("nodes/area.py", 10, files)) == of_file
    everything = trials.chosen("nodes/area.py", 4, files)
    assert set(everything) == {*of_file, f"{files[1]}::test_nothing"}
    assert trials.chosen("nodes/area.py", 4, files, budget=0) == everything[:1]
    unseen = [f"{files[0]}::test_nothing"]
    wrong = SOURCE.replace("by=3", "by=4")
    assert not trials.is_noticed("nodes/area.py", wrong, unseen)
    assert trials.is_noticed("nodes/area.py", wrong, [f"{files[0]}::test_area"])


def test_a_sample_is_the_same_for_a_seed_and_resumes_where_it_was(
    mutants: ModuleType,
    checkout: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = [mutant.key for mutant in mutants.sampled(["nodes/area.py"], 4, 1)]
    assert first == [mutant.key for mutant in mutants.sampled(["nodes/area.py"], 4, 1)]
    assert first != [mutant.key for mutant in mutants.sampled(["nodes/area.py"], 4, 2)]
    results = tmp_path_factory.mktemp("kept") / "results.jsonl"
    for _ in range(2):
        sample = mutants.sampled(["nodes/area.py"], 4, 1)
        found = mutants.try_all(sample, results, again=False, end=float("inf"))
        assert [entry["key"] for entry in found] == first
    assert len(results.read_text(encoding="utf-8").splitlines()) == 4
    assert capsys.readouterr().out.count("nodes/area.py:") == 4


def test_a_checkout_whose_tests_fail_without_a_fault_is_told(
    mutants: ModuleType, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "tests" / "test_area.py").write_text(TESTS.format(height=4, area=61), "utf-8")
    with pytest.raises(mutants.UnsoundError, match="Without a fault"):
        mutants.Trials(checkout, tmp_path / "trials").chosen(
            "nodes/area.py", 6, ["tests/test_area.py"]
        )
    sample = mutants.sampled(["nodes/area.py"], 2, 1)
    results = tmp_path / "results.jsonl"
    assert mutants.try_all(sample, results, again=False, end=float("inf")) == []
    assert capsys.readouterr().out.count("not tried, nodes/area.py:") == 2
