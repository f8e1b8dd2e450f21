"""From an empty folder to a picture of a person: set up everything, show it once, and stop.

    python3 devtools/quickstart.py

Makes the private environment if it is missing (see env.py; torch is large), makes small models
that were trained on drawn people (see devtools/drawn), starts a real ComfyUI server on the CPU with
this pack, and saves one sheet: two drawn people, and what InstantID makes of them. Nothing outside
the folder .dev of the checkout is touched.

With --image, --prompt or a size it queues the API form of example_workflows/instantid_basic.json
instead, on stand-in models with random weights: the picture means nothing, but everything runs.
With --models DIR, a folder like ComfyUI's `models` that holds the real files, it shows the person
of the photo.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import env
import make_standins
from comfy_server import (
    PORTRAIT,
    Prompt,
    Result,
    Server,
    ServerError,
    has_gpu,
    serve,
    standin_models,
)
from full_size.graph import with_inputs

WORKFLOW = env.ROOT / "example_workflows" / "api" / "instantid_basic.json"
FOLDER = env.STATE / "quickstart"
INSIDE = "INSTANTID_QUICKSTART_STARTED"  # set in the environment's own process: when it all began
KEYPOINTS_NODE = "quickstart_keypoints"
STANDIN_SIZE, STANDIN_STEPS = 512, 4
MODEL_FILES = {".safetensors", ".ckpt", ".bin", ".pth", ".pt"}
say = partial(print, flush=True)
# The loaders of the basic workflow: class, the input that names the file, folder of `models`.
LOADERS = (
    ("CheckpointLoaderSimple", "ckpt_name", "checkpoints"),
    ("IID_LoadInstantID", "identitynet", "controlnet"),
    ("IID_LoadInstantID", "file", "instantid"),
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog="Without --image, --prompt, --models and a size: a sheet of drawn people.",
    )
    add = parser.add_argument
    add("--image", type=Path, help="the photo; a portrait by NASA unless named")
    add("--prompt", help="what the picture shows")
    add("--steps", type=int, help=f"sampling steps ({STANDIN_STEPS}; real: 30)")
    add("--seed", type=int, help="seed of the noise (1)")
    add("--width", type=int, help=f"pixels ({STANDIN_SIZE}; real: 1024)")
    add("--height", type=int, help=f"pixels ({STANDIN_SIZE}; real: 1024)")
    add("--models", type=Path, metavar="DIR", help="a folder of real models, like ComfyUI's")
    add("--output", type=Path, default=FOLDER, help="where the pictures go")
    add("--serve", action="store_true", help="keep the server afterwards and print its URL")
    env.add_arguments(parser)
    options = parser.parse_args()
    for name, value in (("width", options.width), ("height", options.height)):
        if value is not None and (value < 64 or value % 8):
            parser.error(f"--{name} is {value}; wanted a multiple of 8, at least 64")
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps is {options.steps}; wanted 1 or more")
    if options.image is not None and not options.image.is_file():
        parser.error(f"--image: there is no file {options.image}")
    if options.models is not None and not options.models.is_dir():
        parser.error(f"--models: there is no folder {options.models}")
    return options


def id_of(prompt: Prompt, kind: str, besides: str = "") -> str:
    """Return the id of the only node of a class, the node `besides` aside."""
    (found,) = (k for k, node in prompt.items() if node["class_type"] == kind and k != besides)
    return found


def make_prompt(options: argparse.Namespace, photo: str) -> Prompt:
    """Return the basic workflow as it was asked for, and with a node that saves the keypoints.

    What was not asked for stays as it is; with stand-ins it is small, and few steps.
    """
    steps, side = (STANDIN_STEPS, STANDIN_SIZE) if options.models is None else (None, None)
    wishes: dict[str, dict[str, Any]] = {
        "LoadImage": {"image": photo},
        "KSampler": {"steps": options.steps or steps, "seed": options.seed},
        "EmptyLatentImage": {"width": options.width or side, "height": options.height or side},
    }
    asked = {
        kind: {name: value for name, value in inputs.items() if value is not None}
        for kind, inputs in wishes.items()
    }
    prompt: Prompt = with_inputs(json.loads(WORKFLOW.read_text(encoding="utf-8")), asked)
    applied = prompt[id_of(prompt, "IID_Apply")]["inputs"]
    if options.prompt is not None:
        prompt[applied["positive"][0]]["inputs"]["text"] = options.prompt
    told = {**applied, **prompt[id_of(prompt, "EmptyLatentImage")]["inputs"]}
    drawn = {name: told[name] for name in ("keypoints", "fit", "width", "height")}
    saved = {"images": ["quickstart_draw", 0], "filename_prefix": "keypoints"}
    prompt["quickstart_draw"] = {"class_type": "IID_DrawKeypoints", "inputs": drawn}
    prompt[KEYPOINTS_NODE] = {"class_type": "SaveImage", "inputs": saved}
    return prompt


def use_files_of(prompt: Prompt, models: Path) -> None:
    """Let the loaders name files that are in `models`, where the workflow's own are not."""
    for kind, name, folder in LOADERS:
        place = models / folder
        files = (path for path in place.rglob("*") if path.suffix in MODEL_FILES)
        found = sorted(str(path.relative_to(place)) for path in files)
        if not found:
            raise SystemExit(f"There is no model file in {place}; {kind} needs one.")
        for node in (n["inputs"] for n in prompt.values() if n["class_type"] == kind):
            if node[name] not in found:
                say(f"{kind}: {node[name]} is not in {place}; taking {found[0]}")
                node[name] = found[0]


def save(server: Server, result: Result, node: str, path: Path) -> Path:
    """Write the one picture that a node saved, and return where."""
    (image,) = result.images(node)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(server.fetch(image))
    return path


def make_picture(server: Server, options: argparse.Namespace, portrait: Path) -> None:
    """Queue the workflow, show its progress, save both pictures and print where they are."""
    image = options.image or portrait
    photo = f"photo{image.suffix}"
    shutil.copyfile(image, server.base / "input" / photo)
    prompt = make_prompt(options, photo)
    if options.models is not None:
        use_files_of(prompt, options.models)
    sampler, began = id_of(prompt, "KSampler"), time.monotonic()

    def show(node: str, step: int, steps: int) -> None:
        if node == sampler:
            say(f"  step {step} of {steps}")

    result = server.run(prompt, show, seconds=24 * 3600)
    say(f"Workflow done in {time.monotonic() - began:.1f} s")
    saver, output = id_of(prompt, "SaveImage", besides=KEYPOINTS_NODE), options.output.resolve()
    say(f"Picture:         {save(server, result, saver, output / 'picture.png')}")
    say(f"Drawn keypoints: {save(server, result, KEYPOINTS_NODE, output / 'keypoints.png')}")


def wants_drawn_people(options: argparse.Namespace) -> bool:
    """Whether nothing is asked for that the drawn world does not know."""
    asked = (options.image, options.prompt, options.models, options.width, options.height)
    return all(value is None for value in asked)


def show_drawn_people(server: Server, options: argparse.Namespace, models: Path) -> None:
    """Make the sheet of drawn people on the server, save it and print who is like whom."""
    import cv2
    from drawn import sheet

    given = sheet.make_sheet()
    for name, picture in given.inputs().items():
        cv2.imwrite(str(server.base / "input" / name), picture[..., ::-1])
    names = ("checkpoint", "identitynet", "adapter")
    files = {name: Path(getattr(make_standins, name.upper())).name for name in names}
    seed = sheet.SEED if options.seed is None else options.seed
    prompt = sheet.graph(files, seed, options.steps or sheet.STEPS)
    began = time.monotonic()
    result = server.run(prompt, seconds=3600)
    say(f"Five pictures in {time.monotonic() - began:.1f} s")
    output = options.output.resolve()
    made: dict[str, Any] = {}
    for name in ("keypoints", *sheet.RESULTS):
        saved = save(server, result, name, output / f"{name}.png")
        made[name] = cv2.imread(str(saved))[..., ::-1]
    place = output / "sheet.png"
    cv2.imwrite(str(place), sheet.compose(given, made)[..., ::-1])
    for line in sheet.likenesses(given, made, open_faces(models)):
        say(line)
    say(f"Sheet: {place}")
    say(sheet.WHAT_IT_IS)


def open_faces(models: Path) -> Any:
    """Return this pack's face analyzer, without its warning that these are not the real files."""
    logging.getLogger("faithful_instantid").disabled = True
    make_standins.checkout()
    faces = importlib.import_module(f"{make_standins.PACKAGE}.instantid_core.faces")
    folder = models / make_standins.FACES
    return faces.open_analyzer(faces.find_pack("antelopev2", [folder.parent.parent]), "CPU")


def run(options: argparse.Namespace, started: float) -> None:
    """Do everything that needs the environment: this process runs in it."""
    comfyui = options.comfyui.resolve()
    began = time.monotonic()
    drawn = wants_drawn_people(options)
    kind = make_standins.DRAWN if drawn else make_standins.RANDOM
    standins = standin_models(comfyui, sys.executable, kind)  # with real models: for their photo
    if options.models is None:
        say(f"Stand-in models ready in {time.monotonic() - began:.1f} s: {standins}")
    models = standins if options.models is None else options.models.resolve()
    began = time.monotonic()
    output, on_cpu = options.output.resolve() / "server", options.models is None or not has_gpu()
    with serve(
        models, output, comfyui=comfyui, dev_nodes=options.models is None, cpu=on_cpu
    ) as server:
        say(f"ComfyUI up in {time.monotonic() - began:.1f} s; its log: {server.log_path}")
        if drawn:
            show_drawn_people(server, options, standins)
        else:
            make_picture(server, options, standins / PORTRAIT)
        if options.models is None and not drawn:
            say(
                "These are stand-in models with random weights: the picture means nothing. "
                "It shows that everything runs. For real pictures, name a folder of real models "
                "with --models."
            )
        say(f"Total: {time.time() - started:.1f} s")
        if options.serve:
            say(f"ComfyUI is at {server.url} until you press Ctrl-C")
            server.process.wait()


def set_up(options: argparse.Namespace) -> int:
    """Make the environment, then run this script again with its interpreter."""
    started = time.time()
    ready = env.chosen(options)
    say(f"Environment ready in {time.time() - started:.1f} s: {ready.python}")
    arguments = [*sys.argv[1:], "--comfyui", str(ready.comfyui)]
    command = [str(ready.python), str(Path(__file__).resolve()), *arguments]
    variables = {**os.environ, INSIDE: str(started)}
    if os.name != "nt":
        os.execve(command[0], command, variables)
    return subprocess.call(command, env=variables)


def main() -> int:
    options = parse()
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
    started = os.environ.pop(INSIDE, None)
    try:
        if started is None:
            return set_up(options)
        run(options, float(started))
    except ServerError as error:
        print(f"ComfyUI says:\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
