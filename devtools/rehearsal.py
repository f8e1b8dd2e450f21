"""Run the example workflow at full size: the real file formats and sizes, random weights, no GPU.

    python3 devtools/rehearsal.py [--comfyui-version 0.30.0 | --comfyui PATH] [--files-only]

Makes the SDXL checkpoint, IdentityNet, ip-adapter.bin and antelopev2's two ONNX files once (11.4 GB
under .dev/full-size, reused by later runs), starts a real ComfyUI server on the CPU with them, and
runs the basic workflow at 512x512 for 2 steps, with and without InstantID. Prints a table of load
times, seconds per step and memory, and fails where a promise is not kept: a key of a file that
ComfyUI misses or leaves over, a picture that is not finite, model memory that the pack holds after
ComfyUI's own unload. Wants 17 GiB of free memory, 14 GB of disk, and 10 minutes on two cores.
Linux only. The pictures mean nothing: the weights are random.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import env

sys.dont_write_bytecode = True
FOLDER = env.STATE / "full-size"
MODELS = FOLDER / "models"
WORKFLOW = env.ROOT / "example_workflows" / "api" / "instantid_basic.json"
PROBE = env.ROOT / "devtools" / "full_size" / "probe.py"
SIZE, STEPS, ROUNDS = 512, 2, 3
START_LIMIT = 180.0  # seconds until the server answers
FREE_LIMIT = 60.0  # seconds until ComfyUI has carried out /free


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- the files ---------------------------------------------------------------------------------


def make_files() -> None:
    """Make what is missing of the full-size files."""
    from full_size import files

    for name in files.missing(MODELS):
        say(f"Making {name} ({files.PUBLISHED[name] / 1e9:.2f} GB)")
        files.make(MODELS, name, files.WRITERS.get(name, _face_model_writer(name)))


def _face_model_writer(name: str) -> Any:
    """Return the writer of an ONNX file: the stand-in that finds drawn faces, at the real size."""
    from full_size import files
    from standins import faces

    make = {files.DETECTOR: faces.make_detector, files.RECOGNISER: faces.make_recogniser}

    def write(path: Path) -> None:
        make[name](path)
        files.add_ballast(path, files.PUBLISHED[name])

    return write


def check_machine() -> None:
    """Stop with a sentence where memory or disk is too small."""
    from full_size import limits

    FOLDER.mkdir(parents=True, exist_ok=True)
    made = sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file())
    limits.refuse_too_little_memory(limits.available_memory())
    limits.refuse_too_little_disk(limits.free_disk(FOLDER), made, FOLDER)


# --- the server --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A ComfyUI server that answers."""

    url: str
    pid: int
    log: Path
    output: Path

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def serving(comfyui: Path) -> Iterator[Server]:
    """Start a server in a folder of its own with this pack, the probe and the full-size models."""
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=FOLDER) as name,
        contextlib.ExitStack() as s,
    ):
        base = Path(name)
        _fill_base(base)
        port = _free_port()
        log = base / "server.log"
        process = subprocess.Popen(
            _command(comfyui, base, port),
            stdout=s.enter_context(log.open("wb")),
            stderr=subprocess.STDOUT,
            cwd=comfyui,
        )
        server = Server(f"http://127.0.0.1:{port}", process.pid, log, base / "output")
        try:
            _wait_until_it_answers(server, process)
            yield server
        except BaseException:
            say(server.text[-6000:])
            raise
        finally:
            process.terminate()
            process.wait(60)


def _fill_base(base: Path) -> None:
    for folder in ("custom_nodes", "input", "output"):
        (base / folder).mkdir()
    (base / "models").symlink_to(MODELS)
    (base / "custom_nodes" / "faithful-instantid").symlink_to(env.ROOT)
    shutil.copy(PROBE, base / "custom_nodes" / "rehearsal_probe.py")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _command(comfyui: Path, base: Path, port: int) -> list[str]:
    return [
        *(sys.executable, str(comfyui / "main.py"), "--cpu", "--bf16-unet"),
        *("--base-directory", str(base), "--port", str(port), "--verbose", "DEBUG"),
        *("--disable-api-nodes", "--database-url", "sqlite:///:memory:"),
    ]


def _wait_until_it_answers(server: Server, process: subprocess.Popen[bytes]) -> None:
    from full_size.measure import get_json

    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"The server ended with {process.returncode} before it answered.")
        with contextlib.suppress(OSError):
            get_json(f"{server.url}/system_stats")
            return
        time.sleep(0.5)
    raise SystemExit(f"The server did not answer within {START_LIMIT:.0f} s.")


# --- the rehearsal -----------------------------------------------------------------------------


def workflow() -> tuple[Any, Any]:
    """Return the basic workflow at the rehearsal's size, with InstantID and without."""
    from full_size import graph

    text = WORKFLOW.read_text(encoding="utf-8")
    small = graph.with_inputs(
        json.loads(text),
        {"EmptyLatentImage": {"width": SIZE, "height": SIZE}, "KSampler": {"steps": STEPS}},
    )
    return small, graph.without_instantid(small)


def seeded(graph: Any, seed: int) -> Any:
    from full_size.graph import with_inputs

    return with_inputs(graph, {"KSampler": {"seed": seed}})


def rehearse(server: Server, figures: Any) -> tuple[float, float]:
    """Run everything on a server; fill `figures`; return the picture's spread and difference."""
    from full_size.measure import run_prompt

    with_face, plain = workflow()

    def look(moment: str) -> None:
        figures.surveys[moment], figures.resident[moment] = survey(server)

    say("First picture, cold")
    first = seeded(with_face, 1)
    figures.first = run_prompt(server.url, first, lambda: look("while sampling"))
    look("after the picture")
    for number in range(ROUNDS):
        pair = [(figures.plain, plain), (figures.instantid, with_face)]
        for runs, graph in pair if number % 2 == 0 else reversed(pair):
            say(f"Round {number + 1} of {ROUNDS}, {'with' if graph is with_face else 'without'}")
            runs.append(run_prompt(server.url, seeded(graph, 2 + number)))
    release(server)
    look("after /free")
    return compare(server, figures.instantid[0], figures.plain[0])


def survey(server: Server) -> tuple[Any, int]:
    """Return what the server's probe finds, and the server's own memory in bytes."""
    from full_size.limits import process_memory
    from full_size.measure import get_json

    own = process_memory(server.pid)["own"]
    return get_json(f"{server.url}/rehearsal/memory"), own


def release(server: Server) -> None:
    """Ask ComfyUI for its own unload and wait until it has been carried out, or for a minute."""
    from full_size.measure import post_json
    from full_size.report import is_settled

    post_json(f"{server.url}/free", {"unload_models": True, "free_memory": True})
    deadline = time.monotonic() + FREE_LIMIT
    while time.monotonic() < deadline and not is_settled(survey(server)[0]):
        time.sleep(1)


def compare(server: Server, patched: Any, plain: Any) -> tuple[float, float]:
    """Return the spread of the InstantID picture and its mean distance from the plain one."""
    import numpy as np
    from PIL import Image

    def read(run: Any) -> Any:
        (found,) = [
            image
            for out in run.outputs.values()
            for image in out.get("images", [])
            if image["type"] == "output"
        ]
        path = server.output / found["subfolder"] / found["filename"]
        return np.asarray(Image.open(path).convert("RGB"), np.float32)

    one, other = read(patched), read(plain)
    return float(one.std()), float(abs(one - other).mean())


def run(comfyui: Path) -> int:
    """Rehearse, print the tables, and return the exit code."""
    from full_size import report
    from full_size.measure import watching

    began = time.monotonic()
    figures = report.Figures()
    starting = time.monotonic()
    with serving(comfyui) as server, watching(server.pid) as watch:
        figures.started = time.monotonic() - starting
        spread, difference = rehearse(server, figures)
        log = server.text
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
    options = parser.parse_args()
    check_machine()
    environment = env.ensure(options.comfyui_version, options.comfyui)
    if Path(sys.prefix).resolve() != environment.python.parent.parent.resolve():
        here = [str(environment.python), __file__, *sys.argv[1:]]
        raise SystemExit(subprocess.run(here).returncode)
    if options.files_only:
        make_files()
        return
    # The files are made by a process of their own, whose memory is gone when the server starts.
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--files-only"], check=True)
    raise SystemExit(run(environment.comfyui))


if __name__ == "__main__":
    main()
