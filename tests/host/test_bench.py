"""The benchmark's variants are what their names say, and it refuses to measure nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from faithful_instantid.devtools.benchmarks import (
    cases,
    gpu,
    gpu_cases,
    models,
    people_share,
    timing,
)

SIZE = 64
SETTINGS = cases.Settings(sizes=[SIZE], rounds=1)


@pytest.fixture(scope="module")
def made() -> models.Models:
    return models.make("tiny", torch.float32)


@pytest.mark.parametrize("case", list(cases.CASES))
def test_every_variant_of_a_case_is_timed_and_changes_the_prediction(
    made: models.Models, case: str
) -> None:
    row = next(cases.CASES[case](made, SETTINGS))
    timings = cases.measure(made, row, SETTINGS)
    assert timings.base == "bare UNet"
    assert set(timings.seconds) == set(row[3])
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in timings.seconds.values())


def test_a_variant_that_changes_nothing_is_an_error_that_names_it(made: models.Models) -> None:
    variants: dict[str, Any] = {"bare UNet": cases.bare(made), "adapter": cases.bare(made)}
    with pytest.raises(timing.MeaninglessError, match=r"64x64: 'adapter' predicts the same as"):
        cases.measure(made, ("64x64", SIZE, 1, variants), SETTINGS)


def test_a_variant_that_is_not_finite_is_an_error_that_names_it(made: models.Models) -> None:
    broken = made.identity(1)
    broken.positive.kv.fill_(float("nan"))
    variants = {"bare UNet": cases.bare(made), "adapter": cases.adapter(made, broken)}
    with pytest.raises(timing.MeaninglessError, match=r"64x64: 'adapter' predicts values tha"):
        cases.measure(made, ("64x64", SIZE, 1, variants), SETTINGS)


def test_the_naive_baseline_is_close_to_the_adapter_s_size_of_work(made: models.Models) -> None:
    row = next(cases.CASES["adapter"](made, SETTINGS))
    naive, _, _ = row[3]["naive adapter"]
    patched = naive.model_options["transformer_options"]["patches_replace"]["attn2"]
    assert len(patched) == 70


def test_people_stand_side_by_side_and_fill_the_picture(made: models.Models) -> None:
    persons = cases.crowd(made, SIZE, 4).persons
    masks = torch.cat([person.mask for person in persons if isinstance(person.mask, torch.Tensor)])
    assert torch.equal(masks.sum(dim=0), torch.ones(SIZE, SIZE))
    xs = [person.faces.faces[0].kps[2, 0] for person in persons if person.faces]
    assert xs == sorted(xs)


def test_launches_and_waits_are_counted_by_the_names_of_the_driver_s_functions() -> None:
    events = [("cudaLaunchKernel", 100), ("cuLaunchKernel", 7), ("aten::add", 50)]
    assert gpu.count(events, gpu.LAUNCHES) == 107
    assert gpu.count(events, gpu.WAITS) == 0
    text = gpu.table("title", {"512x512": {"bare UNet": gpu.Costs(107, 2, 3 << 30)}})
    assert "| 512x512 | bare UNet | 107 | 2 | 3.00 GiB |" in text


def test_a_row_of_the_gpu_s_own_bench_is_timed_on_pictures_that_are_not_square(
    made: models.Models,
) -> None:
    name, size, pictures, variants = next(gpu_cases.calls(made, ((64, 96),)))
    assert (name, size, pictures, len(variants)) == ("64x96, 2 rows", (64, 96), 1, 6)
    some = {variant: variants[variant] for variant in ("bare UNet", "4 people")}
    timings = cases.measure(made, (name, size, pictures, some), SETTINGS)
    assert timings.base == "bare UNet"


def test_the_gpu_s_own_bench_sees_a_video_in_windows(made: models.Models) -> None:
    _, size, frames, variants = next(gpu_cases.frames(made, (64, 96)))
    model, *sides = variants["adapter"]
    rows: list[int] = []
    unet = made.model.model.diffusion_model
    handle = unet.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    try:
        models.calls(model, *sides, models.noise(size, frames), 0, timing.Clock(made.device))
    finally:
        handle.remove()
    # ComfyUI puts one more frame before all windows but the first.
    assert len(rows) == 3 and max(rows) <= 2 * (gpu_cases.WINDOW + 1) < 2 * frames
    assert variants["bare UNet"][0].model_options.keys() >= {"context_handler"}


def test_rows_do_not_grow_with_people_as_they_do_in_the_chained_recipe(
    made: models.Models,
) -> None:
    crowds = people_share.measure(made, SIZE, rounds=1)
    assert [crowd.people for crowd in crowds] == [1, 2, 4, 8]
    assert all(crowd.rows == people_share.Rows(2, 2) for crowd in crowds)
    assert [crowd.chained.unet for crowd in crowds] == [2, 4, 8, 16]
    assert [crowd.chained.identitynet for crowd in crowds] == [2, 4, 8, 16]
    own = sum(crowds[-1].own)
    assert 0 < own < sum(crowds[-1].whole)  # a part of the call, and some of it


def test_the_verdict_on_people_follows_time_and_rows() -> None:
    crowds = [
        people_share.Crowd(n, own=[0.1 * n], whole=[4.0], rows=people_share.Rows(2, 2))
        for n in people_share.COUNTS
    ]
    assert people_share.verdict(crowds, 512).startswith("PASS: 4 people add 0.0750 of one person's")
    crowds[2].own = [0.6]
    assert people_share.verdict(crowds, 512).startswith("FAIL: 4 people add 0.1250 of one person's")
    crowds[2].own, crowds[3].rows = [0.1], people_share.Rows(4, 2)
    assert people_share.verdict(crowds, 512).startswith("FAIL: 4 people add 0.0000 of one person's")


def test_the_verdict_of_a_gpu_follows_the_pairs_of_whole_calls() -> None:
    pairs = {"bare UNet": [1.0, 2.0, 1.0], "adapter": [1.01, 2.1, 1.015]}
    rows = {"1024x1024": timing.Timings(pairs)}
    assert gpu.verdict(rows).startswith("PASS: a call with the adapter takes 1.0150 of a bare one")
    pairs["adapter"] = [1.03, 2.1, 1.01]
    assert gpu.verdict(rows).startswith("FAIL: a call with the adapter takes 1.0300 of a bare one")
    assert gpu.verdict({"512x512": timing.Timings(pairs)}).startswith("NO VERDICT: 1024 is not")
