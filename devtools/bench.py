"""Measure what InstantID costs: paired with the bare UNet, median and spread, Markdown and JSON.

    PYTHON devtools/bench.py [case ...] [--comfyui PATH] [--models tiny|full] [--cpu]
        [--dtype bf16|fp16|fp32] [--pixels N ...] [--rounds N] [--calls N] [--json FILE]

Cases: adapter (against a naive one, too), identitynet, people, batch; all of them if none is
named. Runs in any interpreter that has what ComfyUI needs; PATH is a ComfyUI tree; without it,
the private environment of env.py is made and used. Weights are random. The adapter case ends with
a verdict on what the adapter itself takes, time and bytes, and the exit code follows it.
Full-size models take 9 GB of memory in 16 bit, on the GPU if there is one; tiny ones show that
the benchmark works, not what anything costs. A variant that changes nothing is an error.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import env
from make_standins import PACKAGE, checkout

ROOT = Path(__file__).resolve().parent.parent
CASES = ("adapter", "identitynet", "people", "batch")
# ComfyUI's own choice of dtype and attention is left alone but for these.
COMFYUI_ARGUMENTS = ("--use-pytorch-cross-attention",)


def start_comfyui(comfyui: Path, cpu: bool) -> None:
    """Make ComfyUI importable, with its arguments parsed."""
    if not (comfyui / "main.py").is_file():
        raise SystemExit(f"{comfyui} is not a ComfyUI tree: it has no main.py.")
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path.insert(0, str(comfyui))
    sys.argv = [sys.argv[0], *COMFYUI_ARGUMENTS, *(["--cpu"] if cpu else [])]
    options = importlib.import_module("comfy.options")
    options.enable_args_parsing()
    importlib.import_module("comfy.model_management")  # reads the arguments now


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
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the cases, print a table for each, and return all figures."""
    checkout()
    cases = importlib.import_module(f"{PACKAGE}.devtools.benchmarks.cases")
    models = importlib.import_module(f"{PACKAGE}.devtools.benchmarks.models")
    timing = importlib.import_module(f"{PACKAGE}.devtools.benchmarks.timing")
    import torch

    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    logging.getLogger("faithful_instantid").setLevel(logging.ERROR)  # random faces may be small
    made = models.make(options.models, dtypes[options.dtype])
    settings = cases.Settings(options.pixels, options.rounds, options.calls)
    figures: dict[str, Any] = {"machine": machine(made.device), "options": vars(options)}
    for name in options.case or CASES:
        rows = {
            row[0]: cases.measure(made, row, settings) for row in cases.CASES[name](made, settings)
        }
        title = f"{name}: seconds per call of the UNet, {options.models} models, {options.dtype}"
        print(timing.table(title, rows) + "\n", flush=True)
        figures[name] = {row: timings.to_json() for row, timings in rows.items()}
        if made.device.type == "cuda":
            figures[f"{name}, asked of the GPU"] = gpu_costs(made, cases, name, settings)
        if name == "adapter":
            figures["verdict"] = adapter_verdict(made, options, figures[name])
    return figures


def gpu_costs(made: Any, cases: Any, name: str, settings: Any) -> dict[str, Any]:
    """Count launches, waits and peak memory of a case's variants, print them, and return them."""
    gpu = importlib.import_module(f"{PACKAGE}.devtools.benchmarks.gpu")
    rows = {row[0]: gpu.measure(made, row) for row in cases.CASES[name](made, settings)}
    print(gpu.table(f"{name}: what one call asks of the GPU", rows) + "\n", flush=True)
    return {
        row: {variant: costs.to_json() for variant, costs in variants.items()}
        for row, variants in rows.items()
    }


def adapter_verdict(made: Any, options: argparse.Namespace, figures: dict[str, Any]) -> str:
    """Measure the adapter's own time inside the call, add it to `figures`; return the verdict."""
    share = importlib.import_module(f"{PACKAGE}.devtools.benchmarks.adapter_share")
    shares = [share.measure(made, pixels, options.rounds) for pixels in options.pixels]
    figures["own time"] = {str(one.pixels): one.to_json() for one in shares}
    return share.verdict(shares)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    own = os.environ.get("COMFYUI_PATH")
    parser.add_argument("case", nargs="*", choices=[*CASES, []], help="what to measure")
    parser.add_argument("--comfyui", type=Path, default=own, metavar="PATH")
    parser.add_argument("--models", choices=("tiny", "full"), default="full")
    parser.add_argument("--cpu", action="store_true", help="even if there is a GPU")
    parser.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), default="bf16")
    parser.add_argument("--pixels", type=int, nargs="+", default=[512, 256], metavar="N")
    parser.add_argument("--rounds", type=int, default=9, help="of all variants of a row")
    parser.add_argument("--calls", type=int, default=1, help="per round; the quickest counts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.comfyui is None:
        ready = env.ensure()
        command = [str(ready.python), *sys.argv, "--comfyui", str(ready.comfyui)]
        sys.exit(subprocess.run(command, check=False).returncode)
    start_comfyui(Path(options.comfyui).resolve(), options.cpu)
    figures = run(options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, default=str) + "\n")
    verdict = figures.get("verdict", "")
    print(verdict, flush=True)
    sys.exit(1 if verdict.startswith("FAIL") else 0)


if __name__ == "__main__":
    main()
