"""Run the example workflow at full size: the real file formats and sizes, random weights, no GPU.

    python3 devtools/rehearsal.py [--comfyui-version 0.30.0 | --comfyui PATH] [--rounds N]
        [--files-only]

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
import contextlib
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import env
from comfy_server import PHOTO, Server, ServerError, serve
from full_size import graph as graphs
from full_size import limits, measure, report
from make_standins import PACKAGE, checkout, save_portrait, start_comfyui

sys.dont_write_bytecode = True
FOLDER = env.STATE / "full-size"
MODELS = FOLDER / "models"
WORKFLOW = env.ROOT / "example_workflows" / "api" / "instantid_basic.json"
SIZE, STEPS = 512, 2
FREE_LIMIT = 120.0  # seconds that ComfyUI's unload may take
QUIET = 10  # seconds without change after which ComfyUI has carried out /free


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- the files ---------------------------------------------------------------------------------


def make_files(comfyui: Path) -> None:
    """Make what is missing of the full-size files."""
    start_comfyui(comfyui)
    checkout()
    files = importlib.import_module(f"{PACKAGE}.devtools.full_size.files")
    faces = importlib.import_module(f"{PACKAGE}.devtools.standins.faces")
    # The face models are the stand-ins that find drawn faces, at the real size.
    made = {files.DETECTOR: faces.make_detector, files.RECOGNISER: faces.make_recogniser}

    def with_ballast(name: str, path: Path) -> None:
        made[name](path)
        files.add_ballast(path, files.PUBLISHED[name])

    for name in files.missing(MODELS):
        say(f"Making {name} ({files.PUBLISHED[name] / 1e9:.2f} GB)")
        files.make(MODELS, name, files.WRITERS.get(name) or partial(with_ballast, name))


def check_machine() -> None:
    """Stop with a sentence where memory or disk is too small."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file())
    limits.refuse_too_little_memory(limits.available_memory())
    limits.refuse_too_little_disk(limits.free_disk(FOLDER), made, FOLDER)


# --- the server --------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(comfyui: Path) -> Iterator[Server]:
    """Run a server with this pack, the probe, a photo and the full-size models."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=FOLDER) as name:
        base = Path(name)
        measure.add_probe(base)
        (base / "input").mkdir()
        save_portrait(base / "input" / PHOTO)
        arguments = ("--bf16-unet", "--verbose", "DEBUG")
        with serve(MODELS, base, comfyui=comfyui, dev_nodes=False, arguments=arguments) as server:
            try:
                yield server
            except BaseException:
                say(server.log[-4000:])
                raise


# --- the rehearsal -----------------------------------------------------------------------------


def workflow() -> tuple[Any, Any]:
    """Return the basic workflow at the rehearsal's size, with InstantID and without."""
    text = WORKFLOW.read_text(encoding="utf-8")
    small = graphs.with_inputs(
        json.loads(text),
        {"EmptyLatentImage": {"width": SIZE, "height": SIZE}, "KSampler": {"steps": STEPS}},
    )
    return small, graphs.without_instantid(small)


def changed(graph: Any, number: int) -> Any:
    """Return the graph with another seed and, where the pack is in it, another weight."""
    graph = graphs.with_inputs(graph, {"KSampler": {"seed": number}})
    if any(node["class_type"] == "IID_Apply" for node in graph.values()):
        graph = graphs.with_inputs(graph, {"IID_Apply": {"weight": 0.8 - 0.01 * number}})
    return graph


def rehearse(server: Server, figures: report.Figures, rounds: int) -> tuple[float, float]:
    """Run everything on a server; fill `figures`; return the picture's spread and difference."""
    with_face, plain = workflow()

    def look(moment: str) -> None:
        figures.surveys[moment], figures.resident[moment] = survey(server)

    say("First picture, cold")
    first = changed(with_face, 1)
    figures.first = measure.run_prompt(
        server, first, lambda step: look("while sampling") if step == 1 else None
    )
    look("after the picture")
    for number in range(rounds):
        pair = [(figures.plain, plain), (figures.instantid, with_face)]
        for runs, graph in pair if number % 2 == 0 else reversed(pair):
            say(f"Round {number + 1} of {rounds}, {'with' if graph is with_face else 'without'}")
            runs.append(measure.run_prompt(server, changed(graph, 2 + number)))
    release(server)
    look("after /free")
    return compare(server, figures.instantid[0], figures.plain[0])


def survey(server: Server) -> tuple[Any, int]:
    """Return what the server's probe finds, and the server's own memory in bytes."""
    own = limits.process_memory(server.process.pid)["own"]
    return server.get(measure.MEMORY_ROUTE), own


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
    import io

    import numpy as np
    from PIL import Image

    def read(run: Any) -> Any:
        images = [image for out in run.outputs.values() for image in out.get("images", [])]
        (saved,) = [image for image in images if image["type"] == "output"]
        return np.asarray(Image.open(io.BytesIO(server.fetch(saved))).convert("RGB"), np.float32)

    one, other = read(patched), read(plain)
    return float(one.std()), float(abs(one - other).mean())


def run(comfyui: Path, rounds: int) -> int:
    """Rehearse, print the tables, and return the exit code."""
    began = time.monotonic()
    figures = report.Figures()
    starting = time.monotonic()
    with serving(comfyui) as server, measure.watching(server.process.pid) as watch:
        figures.started = time.monotonic() - starting
        spread, difference = rehearse(server, figures, rounds)
        log = server.log
    figures.imported = report.import_seconds(log)
    figures.peak_own, figures.peak_resident = watch.peak_own, watch.peak_resident
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
    parser.add_argument("--files-only", action="store_true", help="make the model files and stop")
    parser.add_argument(
        "--rounds", type=int, default=2, help="pairs of pictures, with and without, to be timed"
    )
    options = parser.parse_args()
    environment = env.inside(options)
    check_machine()
    if options.files_only:
        make_files(environment.comfyui)
        return
    # The files are made by a process of their own, whose memory is gone when the server starts.
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--files-only"], check=True)
    try:
        raise SystemExit(run(environment.comfyui, options.rounds))
    except ServerError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
