"""Measure on a GPU with no network and no ComfyUI installed: out of one folder, in six minutes.

    python3 devtools/gpu_bench.py pack FOLDER --comfyui PATH [--python 3.12]
    PYTHON FOLDER/pack/devtools/gpu_bench.py run FOLDER [--check] [--out DIR] [--part PART ...]
        [--models tiny|full] [--cpu] [--seconds N] [--rounds N] [--backend NAME] [--module NAME]

`pack` gathers ComfyUI's Python files, the few wheels that machines with PyTorch lack, for that
version of Python on Linux, and this checkout's Python files; it fails above 60 MiB. `run` imports
comfy and instantid_core, not the nodes, out of that folder, makes random models on the device, and
writes gpu_bench.json and gpu_bench.md into DIR after every row, so that a run that is cut short
leaves what it has. What no time was left for is named there. `--check` only names the Python
packages that are missing. Parts, in this order: calls (every size, batch and dtype), counts (kernel
launches and waits of the host), frames (a video in windows), compile (torch.compile, which may take
minutes: give it a run of its own).
With `--cpu --models tiny --backend aot_eager --module diffusion_model.out --rounds 1` it shows that
everything works, not what it costs.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import itertools
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 60 * 2**20  # bytes of the whole folder
COMFYUI_FOLDERS = ("comfy", "comfy_api", "comfy_config", "comfy_execution", "utils")
OWN_FOLDERS = ("instantid_core", "devtools")
# Of ComfyUI's needs, what a machine with PyTorch and Hugging Face's packages has not got.
WHEELS = ("torchsde", "trampoline", "comfy-aimdo")
PURE = ("comfy-kitchen",)  # in Python alone: its kernels, 100 MB, are for formats not measured here
NEEDED = ("torch", "torchvision", "torchaudio", "numpy", "scipy", "einops", "safetensors")
NEEDED += ("transformers", "tokenizers", "sentencepiece", "tqdm", "psutil", "PIL", "yaml", "cv2")
NEEDED += ("requests", "torchsde", "trampoline", "comfy_aimdo", "comfy_kitchen")
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux_2_12", "manylinux2014", "manylinux1")
PARTS = ("calls", "counts", "frames", "compile")
SECONDS = 350
PACKAGE = "instantid_checkout"
MIB = 2**20


def pack(options: argparse.Namespace) -> None:
    """Gather what a run needs in a new folder."""
    folder, comfyui = options.folder, options.comfyui
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty. Name a new folder.")
    if not (comfyui / "comfy").is_dir():
        raise SystemExit(f"{comfyui} is not a ComfyUI tree: it has no folder comfy.")
    for path in python_files(comfyui, COMFYUI_FOLDERS):
        copy(comfyui / path, folder / "comfyui" / path)
    for path in python_files(ROOT, OWN_FOLDERS):
        copy(ROOT / path, folder / "pack" / path)
    download_wheels(folder / "wheels", comfyui, options.python)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / MIB:.1f} MiB")
    if size > LARGEST:
        raise SystemExit(f"That is more than {LARGEST / MIB:.0f} MiB.")


def python_files(root: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    """Yield the Python files and small tables under a root, relative to it."""
    paths = [*root.glob("*.py"), *(p for folder in folders for p in (root / folder).rglob("*"))]
    for path in paths:
        is_table = path.suffix in (".json", ".yaml") and path.stat().st_size < MIB // 4
        if path.is_file() and (path.suffix == ".py" or is_table):
            yield path.relative_to(root)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def download_wheels(folder: Path, comfyui: Path, python: str) -> None:
    """Download the wheels, in the versions that this ComfyUI asks for."""
    asked = (comfyui / "requirements.txt").read_text().splitlines()
    tags = [f"{tag}_x86_64" for tag in PLATFORMS]
    for names, platforms in ((WHEELS, tags), (PURE, ["any"])):
        wanted = [next((line for line in asked if is_for(line, name)), name) for name in names]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
        command += [str(folder), "--only-binary=:all:", "--implementation", "cp"]
        command += ["--python-version", python]
        command += [part for platform in platforms for part in ("--platform", platform)]
        subprocess.run([*command, *wanted], check=True)


def is_for(requirement: str, name: str) -> bool:
    return re.split(r"[^\w.-]", requirement.strip().lower())[0] == name


def enter(folder: Path) -> None:
    """Make what lies in the folder importable; what the machine has itself comes first."""
    site = Path(tempfile.mkdtemp(prefix="gpu_bench_"))
    for wheel in (folder / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as content:
            content.extractall(site)
    here = Path(__file__).resolve().parent
    kept = [path for path in sys.path if Path(path or ".").resolve() not in (ROOT, here)]
    sys.path[:] = [str(folder / "comfyui"), *kept, str(site)]


def missing() -> list[str]:
    """Return the modules that are needed and not here."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def start_comfyui(cpu: bool) -> None:
    """Import ComfyUI's models, with models kept where they are made."""
    place = ["--cpu"] if cpu else ["--gpu-only"]
    sys.argv = [sys.argv[0], "--use-pytorch-cross-attention", *place]
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("comfy.model_management")  # reads the arguments now


class Report:
    """What was measured, written anew after every row."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self.until = time.monotonic() + seconds
        self.figures: dict[str, Any] = {"rows": {}, "left out": []}
        self.tables: list[str] = []
        self.at_work = "everything"
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def has_time(self, what: str, seconds: float = 0.0) -> bool:
        """Say whether so many seconds are left for something, and note it as left out if not."""
        self.at_work = what
        if time.monotonic() + seconds < self.until:
            return True
        self.figures["left out"].append(what)
        self.write()
        return False

    def add(self, name: str, figures: Any, table: str) -> None:
        self.figures["rows"][name] = figures
        self.tables.append(table)
        print(table + "\n", flush=True)
        self.write()

    def write(self) -> None:
        with self._lock:
            text = json.dumps(self.figures, indent=1, default=str)
            (self.folder / "gpu_bench.json").write_text(text + "\n")
            machine = "\n".join(f"- {k}: {v}" for k, v in self.figures.get("machine", {}).items())
            out = [f"- left out, for lack of time: {what}" for what in self.figures["left out"]]
            parts = [machine, *self.tables, "\n".join(out), self.figures.get("verdict", "")]
            text = "\n\n".join(part for part in parts if part)
            (self.folder / "gpu_bench.md").write_text(text + "\n")

    def stop_in_time(self) -> None:
        """End the process when the time is up, whatever it does then."""

        def stop() -> None:
            self.figures["left out"].append(f"{self.at_work}, cut short")
            self.write()
            os._exit(0)

        timer = threading.Timer(self.until - time.monotonic(), stop)
        timer.daemon = True
        timer.start()


def run(options: argparse.Namespace) -> None:
    """Measure the parts that were asked for."""
    report = Report(options.out, options.seconds)
    report.stop_in_time()
    start_comfyui(options.cpu)
    tools = load_tools()
    torch = importlib.import_module("torch")
    logging.getLogger("faithful_instantid").disabled = True  # it would speak of small faces
    device = importlib.import_module("comfy.model_management").get_torch_device()
    if device.type != "cuda" and not options.cpu:
        raise SystemExit("There is no GPU here. Use --cpu --models tiny to see that it works.")
    report.figures["machine"] = tools["bench"].machine(device)
    sizes = tools["gpu_cases"].SIZES if options.models == "full" else ((128, 128), (104, 152))
    bench = Bench(tools, report, options, sizes)
    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16}
    if options.cpu:
        dtypes = {"fp32": torch.float32}
    for number, (name, dtype) in enumerate(dtypes.items()):
        models = tools["models"].make(options.models, dtype, device)
        is_last = number == len(dtypes) - 1
        for part in options.part:
            wanted = part == "calls" or (number == 0 if part != "compile" else is_last)
            if wanted:
                bench.measure(part, name, models)
        del models
        gc.collect()
        importlib.import_module("comfy.model_management").soft_empty_cache()
    report.write()


def load_tools() -> dict[str, Any]:
    """Import the benchmark's modules out of this checkout."""
    sys.path.append(str(Path(__file__).resolve().parent))
    bench = importlib.import_module("bench")
    importlib.import_module("make_standins").checkout()
    names = ("cases", "models", "timing", "gpu", "gpu_cases")
    prefix = f"{PACKAGE}.devtools.benchmarks"
    tools = {name: importlib.import_module(f"{prefix}.{name}") for name in names}
    return {"bench": bench, **tools}


class Bench:
    """Measures rows and hands them to the report."""

    def __init__(
        self,
        tools: dict[str, Any],
        report: Report,
        options: argparse.Namespace,
        sizes: tuple[tuple[int, int], ...],
    ) -> None:
        self.tools, self.report, self.options, self.sizes = tools, report, options, sizes
        self.settings = tools["cases"].Settings(sizes=sizes, rounds=options.rounds)

    def rows(self, part: str, models: Any) -> Iterator[Any]:
        made = self.tools["gpu_cases"]
        if part == "frames":
            return made.frames(models, self.sizes[-1])
        if part == "compile":
            how = (self.options.backend, self.options.module)
            return made.compiled(models, *how, self.sizes[0])
        if part == "counts":  # the profiler is slow, and size changes no count
            return itertools.islice(made.calls(models, self.sizes[:1]), 1)
        return made.calls(models, self.sizes)

    def measure(self, part: str, dtype: str, models: Any) -> None:
        for row in self.rows(part, models):
            what = f"{row[0]}, {dtype}"
            least = 90.0 if part == "compile" and not self.options.cpu else 0.0
            if not self.report.has_time(f"{part}: {what}", least):
                continue
            if part == "counts":
                self.count(what, models, row)
            else:
                self.time(what, models, row)

    def time(self, what: str, models: Any, row: Any) -> None:
        timing, cases = self.tools["timing"], self.tools["cases"]
        timings = cases.measure(models, row, self.settings)
        figures = timings.to_json()
        table = timing.table(f"{what}: a call of the UNet", {row[0]: timings})
        peaks = self.tools["gpu"].peaks(models, row)
        figures = {"times": figures, "peak bytes": peaks}
        told = (f"{name} {peak / 2**30:.2f} GiB" for name, peak in peaks.items())
        table += "\n\nPeak of memory beyond weights: " + ", ".join(told) + "."
        self.report.add(what, figures, table)
        if row[0].startswith("1024x1024, 2 rows") and "verdict" not in self.report.figures:
            verdict = self.tools["gpu"].verdict({"1024x1024": timings})
            self.report.figures["verdict"] = verdict

    def count(self, what: str, models: Any, row: Any) -> None:
        gpu = self.tools["gpu"]
        costs = gpu.measure(models, row)
        figures = {name: asdict(cost) for name, cost in costs.items()}
        table = gpu.table(f"{what}: what a call asks of the device", {row[0]: costs})
        self.report.add(f"{what}, counts", figures, table)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="gather everything in a folder, with a network")
    packing.add_argument("folder", type=Path)
    packing.add_argument("--comfyui", type=Path, required=True, metavar="PATH")
    packing.add_argument("--python", default="3.12", help="of the machine with the GPU")
    running = commands.add_parser("run", help="measure, without a network")
    running.add_argument("folder", type=Path)
    running.add_argument("--check", action="store_true", help="only name what is missing")
    running.add_argument("--out", type=Path, default=Path("."), metavar="DIR")
    running.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    running.add_argument("--models", choices=("tiny", "full"), default="full")
    running.add_argument("--cpu", action="store_true", help="even if there is a GPU")
    running.add_argument("--seconds", type=float, default=SECONDS, help="until it ends")
    running.add_argument("--rounds", type=int, default=9, help="of all variants of a row")
    running.add_argument("--backend", default="inductor", help="of torch.compile")
    running.add_argument("--module", default="diffusion_model", help="that it compiles")
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.command == "pack":
        pack(options)
        return
    enter(options.folder.resolve())
    lacking = missing()
    print(f"missing here: {', '.join(lacking) or 'nothing'}", flush=True)
    if lacking or options.check:
        sys.exit(1 if lacking else 0)
    run(options)


if __name__ == "__main__":
    main()
