"""The benchmark's cases around the sampling pair equal work, and refuse what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from faithful_instantid.devtools.benchmarks import around, costs, face_models, models, rerun, timing
from faithful_instantid.devtools.comfy_server import ROOT, quick_python

BENCH, COMFYUI = ROOT / "devtools" / "bench.py", "COMFYUI_PATH"
SIZE = 64


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> around.Setup:
    folder, made = tmp_path_factory.mktemp("bench"), models.make("tiny", torch.float32)
    return around.Setup("tiny", folder, torch.float32, SIZE, 1, lambda: made)


AROUND = {**around.CASES, **face_models.CASES, **rerun.CASES}


@pytest.mark.parametrize("case", list(AROUND))
def test_every_case_around_the_sampling_times_this_pack_and_a_baseline(
    setup: around.Setup, case: str
) -> None:
    rows = AROUND[case](setup)
    assert len(rows) == 2
    for timings in rows.values():
        assert len(timings.seconds) >= 2
        assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in timings.seconds.values())


@pytest.mark.parametrize("case", list(costs.CASES))
def test_every_table_of_growth_has_a_sentence_why_for_every_row(
    setup: around.Setup, case: str
) -> None:
    rows = costs.CASES[case](setup)
    lines = costs.notes(rows).splitlines()
    assert len(lines) == len(rows) and {*rows} <= {*costs.WHY}
    assert all("-fold (number to the " in line for line in lines)


def test_growth_is_the_power_of_the_number_that_the_time_follows() -> None:
    timings = timing.Timings({"bare": [9.0], "1": [0.5], "4": [1.0], "10": [50.0]})
    assert costs.growth(timings) == "from 1 to 10 the time grows 100-fold (number to the 2.00)"


def test_a_pair_that_does_not_do_the_same_work_is_an_error(setup: around.Setup) -> None:
    variants = {"naive": lambda: torch.ones(3), "lazy": lambda: torch.zeros(3)}
    with pytest.raises(timing.MeaninglessError, match=r"'lazy' is 1\.000 off what it is comp"):
        around.in_turn(setup, variants, around.alike)


def test_encoding_the_same_face_again_is_not_taken_for_another_one() -> None:
    sides = torch.ones(2, 4)
    with pytest.raises(timing.MeaninglessError, match="'kept' did not encode another face"):
        around.another("kept", sides, sides)


def test_a_rerun_in_which_more_ran_than_the_weight_concerns_is_an_error(
    setup: around.Setup,
) -> None:
    folders = setup.adapter_file().parent, face_models.make_models(setup)
    wanted = pytest.raises(timing.MeaninglessError, match=r"these ran: .*'IID_EncodeFace'")
    with rerun.registered(setup, *folders) as runner, wanted:
        runner.run(rerun.AGAIN)  # without a first run everything has to run


def test_a_case_whose_packages_are_missing_names_them() -> None:
    with pytest.raises(around.NotHereError, match="no_such_package not installed in "):
        around.need("torch", "no_such_package")


def test_the_command_gives_tables_and_every_figure_with_a_gpu_or_without(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, str(BENCH), "encode", "batch", "--comfyui", os.environ[COMFYUI]]
    small = ["--models", "tiny", "--dtype", "fp32", "--pixels", str(SIZE), "--rounds", "1"]
    variables = {name: value for name, value in quick_python().items() if name != COMFYUI}
    done = subprocess.run(
        [*command, *small, "--json", str(file)], capture_output=True, text=True, env=variables
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    tables = [line for line in done.stdout.splitlines() if line.startswith("**")]
    assert [table.partition(":")[0] for table in tables] == ["**encode", "**batch"]
    for case in ("encode", "batch"):
        for row, variants in figures[case].items():
            for variant, times in variants.items():
                assert f"| {row} | {variant} | {times['median'] * 1000:.1f} ms |" in done.stdout
                assert len(times["seconds"]) == 1
