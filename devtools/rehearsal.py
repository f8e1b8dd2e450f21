"""Run the example workflow at full size: the real file formats and sizes, random weights, no GPU.

    python3 devtools/rehearsal.py [--comfyui-version 0.30.0 | --comfyui PATH] [--rounds N]

Makes the SDXL checkpoint, IdentityNet, ip-adapter.bin and antelopev2's two ONNX files once (11.4 GB
under .dev/full-size, reused by later runs), starts a real ComfyUI server on the CPU with them, and
runs the basic workflow at 512x512 for 2 steps, with and without InstantID. Prints a table of load
times, seconds per step and memory, and fails where a promise is not kept: a key of a file that
ComfyUI misses or leaves over, a picture that is not finite, model memory that the pack holds after
ComfyUI's own unload. Wants 17 GiB of free memory, 14 GB of disk, and 10 minutes on two cores. The
pictures mean nothing: the weights are random.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import multiprocessing
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import env
from comfy_server import PORTRAIT, Server, ServerError, serve
from env import say
from full_size import graph as graphs
from full_size import limits, report
from make_standins import PACKAGE, checkout, save_portrait, start_comfyui

sys.dont_write_bytecode = True
FOLDER = env.STATE / "full-size"
MODELS = FOLDER / "models"
WORKFLOW = env.ROOT / "example_workflows" / "api" / "instantid_basic.json"
SIZE, STEPS = 512, 2
FREE_LIMIT = 120.0  # seconds that ComfyUI's unload may take
QUIET = 10  # seconds without change after which ComfyUI has carried out /free


def make_files(comfyui: Path, models: Path = MODELS) -> None:
    """Make what is missing of the full-size files, and the photo."""
    start_comfyui(comfyui)
    checkout()
    files = importlib.import_module(f"{PACKAGE}.devtools.full_size.files")
    for name in files.WRITERS:
        say(f"Model file {name} ({files.PUBLISHED[name] / 1e9:.2f} GB)")
        files.make(models, name)
    save_portrait(models / PORTRAIT)


def workflow() -> tuple[Any, Any]:
    """Return the basic workflow at the rehearsal's size, with InstantID and without."""
    small = graphs.with_inputs(
        json.loads(WORKFLOW.read_text(encoding="utf-8")),
        {"EmptyLatentImage": {"width": SIZE, "height": SIZE}, "KSampler": {"steps": STEPS}},
    )
    return small, graphs.without_instantid(small)


def changed(graph: Any, number: int) -> Any:
    """Return the graph with another seed and, where the pack is in it, another weight."""
    changes: dict[str, dict[str, Any]] = {"KSampler": {"seed": number}}
    if any(node["class_type"] == "IID_Apply" for node in graph.values()):
        changes["IID_Apply"] = {"weight": 0.8 - 0.01 * number}
    return graphs.with_inputs(graph, changes)


def rehearse(server: Server, figures: report.Figures, rounds: int) -> tuple[float, float]:
    """Run everything on a server; fill `figures`; return the picture's spread and difference."""
    with_face, plain = workflow()

    def look(moment: str) -> None:
        memory = limits.process_memory(server.process.pid)
        figures.surveys[moment] = {**memory, **server.get(report.MEMORY_ROUTE)}

    say("First picture, cold")
    figures.first = report.run_prompt(
        server, changed(with_face, 1), lambda step: look("while sampling") if step == 1 else None
    )
    look("after the picture")
    for number in range(rounds):
        pair = [(figures.plain, plain), (figures.instantid, with_face)]
        for runs, graph in pair if number % 2 == 0 else reversed(pair):
            say(f"Round {number + 1} of {rounds}, {'with' if graph is with_face else 'without'}")
            runs.append(report.run_prompt(server, changed(graph, 2 + number)))
    release(server)
    look(report.AT_THE_END)
    return compare(server, figures.instantid[0], figures.plain[0])


def release(server: Server) -> None:
    """Ask ComfyUI for its own unload and wait until the server's memory has come to rest.

    It is watched from outside: looking into the server would hold what is about to be collected.
    """
    server.post("/free", {"unload_models": True, "free_memory": True})
    last, quiet, deadline = 0, 0, time.monotonic() + FREE_LIMIT
    while quiet < QUIET and time.monotonic() < deadline:
        time.sleep(1)
        now = limits.process_memory(server.process.pid)["own"]
        quiet = quiet + 1 if now == last else 0
        last = now


def compare(server: Server, patched: Any, plain: Any) -> tuple[float, float]:
    """Return the spread of the InstantID picture and its mean distance from the plain one."""
    import numpy as np
    from PIL import Image

    def read(run: Any) -> Any:
        images = (image for out in run.outputs.values() for image in out.get("images", []))
        (saved,) = (image for image in images if image["type"] == "output")
        return np.asarray(Image.open(io.BytesIO(server.fetch(saved))).convert("RGB"), np.float32)

    one, other = read(patched), read(plain)
    return float(one.std()), float(abs(one - other).mean())


def run(comfyui: Path, rounds: int) -> int:
    """Rehearse, print the tables, and return the exit code."""
    began = time.monotonic()
    figures = report.Figures()
    arguments = ("--bf16-unet", "--verbose", "DEBUG")
    with serve(MODELS, comfyui=comfyui, arguments=arguments) as server:
        figures.started = time.monotonic() - began
        try:
            with limits.watching(server.process.pid) as figures.peaks:
                spread, difference = rehearse(server, figures, rounds)
        except BaseException:
            say(server.log[-4000:])
            raise
        log = server.log
    figures.imported = report.import_seconds(log)
    figures.whole = time.monotonic() - began
    (FOLDER / "rehearsal.json").write_text(json.dumps(asdict(figures), indent=1))
    print(report.table(figures))
    failed = report.failures(figures, log, spread, difference)
    for sentence in failed:
        say(f"FAILED: {sentence}")
    say(f"{'Failed' if failed else 'Passed'} in {figures.whole:.0f} s")
    return 1 if failed else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    env.add_arguments(parser)
    parser.add_argument(
        "--rounds", type=int, default=2, help="pairs of pictures, with and without, to be timed"
    )
    options = parser.parse_args()
    comfyui = env.inside(options).comfyui
    MODELS.mkdir(parents=True, exist_ok=True)
    made = sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file())
    free = shutil.disk_usage(MODELS).free
    limits.refuse_too_little(limits.available_memory(), free, made, MODELS)
    # The files are made by a process of their own, whose memory is gone when the server starts.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as another:
        another.submit(make_files, comfyui).result()
    try:
        raise SystemExit(run(comfyui, options.rounds))
    except ServerError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
