"""Measure what InstantID costs: paired with the bare UNet, median and spread, Markdown and JSON.

    PYTHON devtools/bench.py [case ...] [--comfyui PATH] [--models tiny|full] [--cpu]
        [--dtype bf16|fp16|fp32] [--pixels N ...] [--rounds N] [--calls N] [--json FILE]

docs/performance.md says what the cases measure; all of them run if none is named. Runs in any
interpreter that has what ComfyUI needs; PATH is a ComfyUI tree; without it, the private environment
of env.py is made and used. Weights are random; files of models are made once, in .dev/full-size.
A case whose Python packages are missing is left out with a line. Verdicts are the last lines, and
the exit code follows them. Full-size models take 9 GB of memory in 16 bit, on the GPU if there is
one; tiny ones show that the benchmark works, not what anything costs. A variant that changes
nothing is an error.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import env
from comfy_server import has_gpu
from make_standins import PACKAGE, checkout, start_comfyui

CASES = ("adapter", "identitynet", "people", "batch", "size")  # per call of the UNet
# Around the sampling, with the module that measures it. A third of the rounds is enough for them.
AROUND = {
    "load": "around",
    "encode": "around",
    "import": "around",
    "faces": "face_models",
    "rerun": "rerun",
    "choices": "choices",
    "costs": "costs",
    "scale": "costs",
}
AROUND_PART = 3
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def part(name: str) -> Any:
    """Return a module of the benchmarks, which need ComfyUI."""
    return importlib.import_module(f"{PACKAGE}.devtools.benchmarks.{name}")


def machine(device: Any) -> dict[str, str]:
    """Say on what the figures were taken."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": f"{os.cpu_count()} cores, {platform.machine()}",
        "threads": str(torch.get_num_threads()),
        "gpu": gpu,
        "cuda": str(torch.version.cuda),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the cases, print a table for each, and return all figures."""
    checkout()
    import torch

    dtype = getattr(torch, DTYPES[options.dtype])
    logging.getLogger("faithful_instantid").disabled = True  # it would speak of small faces
    device = importlib.import_module("comfy.model_management").get_torch_device()
    settle(options, device.type == "cuda")
    make = functools.cache(lambda: part("models").make(options.models, dtype))
    figures = {"machine": machine(device), "options": vars(options), "verdicts": []}
    for name in options.case or (*AROUND, *CASES):
        if name in AROUND:
            measure_around(name, options, dtype, make, figures)
        else:
            measure_calls(name, options, make(), figures)
    return figures


def settle(options: argparse.Namespace, on_gpu: bool) -> None:
    """Set what was left open: on a GPU calls are short, and its limit is for 1024x1024."""
    values = ([1024, 512, 256], 21, 5) if on_gpu else ([512, 256], 9, 1)
    for name, value in zip(("pixels", "rounds", "calls"), values, strict=True):
        setattr(options, name, getattr(options, name) or value)


def measure_around(
    name: str, options: argparse.Namespace, dtype: Any, make: Callable[[], Any], figures: Any
) -> None:
    """Measure a case around the sampling, print its table, and add what it gave to `figures`.

    A case whose Python packages are missing is left out, with a line that names them.
    """
    around, module, timing = part("around"), part(AROUND[name]), part("timing")
    with tempfile.TemporaryDirectory() as spare:
        folder = env.STATE / "full-size" / "models" if options.models == "full" else Path(spare)
        rounds = -(-options.rounds // AROUND_PART)
        setup = around.Setup(options.models, folder, dtype, min(options.pixels), rounds, make)
        try:
            rows = module.CASES[name](setup)
        except around.NotHereError as missing:
            print(f"**{name}** was left out: {missing}\n", flush=True)
            figures[name] = {"left out": str(missing)}
            return
    print(timing.table(f"{name}: seconds, {options.models} models", rows) + "\n", flush=True)
    if hasattr(module, "notes"):
        print(module.notes(rows) + "\n", flush=True)
    if hasattr(module, "verdict"):
        figures["verdicts"].append(module.verdict(rows))
    figures[name] = {row: timings.to_json() for row, timings in rows.items()}


def measure_calls(name: str, options: argparse.Namespace, made: Any, figures: Any) -> None:
    """Measure a case per call of the UNet, print its tables, and add what it gave to `figures`."""
    cases, timing, gpu = part("cases"), part("timing"), part("gpu")
    settings = cases.Settings(options.pixels, options.rounds, options.calls)
    paced, on_gpu = cases.paced(settings, name), made.device.type == "cuda"
    rows = {row[0]: cases.measure(made, row, paced) for row in cases.CASES[name](made, paced)}
    title = f"{name}: seconds per call of the UNet, {options.models} models, {options.dtype}"
    print(timing.table(title, rows) + "\n", flush=True)
    figures[name] = {row: timings.to_json() for row, timings in rows.items()}
    if on_gpu:
        costs = {row[0]: gpu.measure(made, row) for row in cases.CASES[name](made, settings)}
        print(gpu.table(f"{name}: what one call asks of the GPU", costs) + "\n", flush=True)
        figures[f"{name}, asked of the GPU"] = {
            row: {variant: asdict(one) for variant, one in own.items()}
            for row, own in costs.items()
        }
    if name == "adapter":
        verdict = gpu.verdict(rows) if on_gpu else adapter_verdict(made, options, figures[name])
        figures["verdicts"].append(verdict)
    if name == "people":
        figures["verdicts"].append(people_verdict(made, paced, figures[name]))


def adapter_verdict(made: Any, options: argparse.Namespace, figures: dict[str, Any]) -> str:
    """Measure the adapter's own time inside the call, add it to `figures`; return the verdict."""
    share = part("adapter_share")
    shares = [share.measure(made, pixels, options.rounds) for pixels in options.pixels]
    figures["own time"] = {str(one.pixels): one.to_json() for one in shares}
    return share.verdict(shares)


def people_verdict(made: Any, settings: Any, figures: dict[str, Any]) -> str:
    """Measure people's own time and rows, print them, add them to `figures`; return the verdict."""
    share = part("people_share")
    pixels = max(settings.sizes)
    crowds = share.measure(made, pixels, settings.rounds)
    print(share.table(f"people: rows and own time per call at {pixels}x{pixels}", crowds) + "\n")
    figures["own time"] = [asdict(crowd) for crowd in crowds]
    return share.verdict(crowds, pixels)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    own = os.environ.get("COMFYUI_PATH")
    add = parser.add_argument
    add("case", nargs="*", choices=[*AROUND, *CASES, []], help="what to measure")
    add("--comfyui", type=Path, default=own, metavar="PATH")
    add("--models", choices=("tiny", "full"), default="full")
    add("--cpu", action="store_true", help="even if there is a GPU")
    add("--dtype", choices=DTYPES, default="bf16")
    add("--pixels", type=int, nargs="+", metavar="N", help="512 256; on a GPU 1024, too")
    add("--rounds", type=int, help="of all variants of a row: 9; on a GPU 21")
    add("--calls", type=int, help="per round, the quickest counts: 1; on a GPU 5")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.comfyui is None:
        ready = env.ensure()
        command = [str(ready.python), *sys.argv, "--comfyui", str(ready.comfyui)]
        sys.exit(subprocess.run(command, check=False).returncode)
    comfyui = options.comfyui.resolve()
    if not (comfyui / "main.py").is_file():
        raise SystemExit(f"{comfyui} is not a ComfyUI tree: it has no main.py.")
    on_gpu = has_gpu() and not options.cpu
    start_comfyui(comfyui, "--use-pytorch-cross-attention", *([] if on_gpu else ["--cpu"]))
    importlib.import_module("comfy.model_management")  # reads the arguments now
    figures = run(options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, default=str) + "\n")
    print("\n".join(figures["verdicts"]), flush=True)
    sys.exit(1 if any(verdict.startswith("FAIL") for verdict in figures["verdicts"]) else 0)


if __name__ == "__main__":
    main()
