"""Measure how like the pictures are to the people, and how well they follow their prompts.

    python3 devtools/quality.py --photos DIR --models DIR [--clip DIR] [--full]
    python3 devtools/quality.py --photos DIR --server URL [--clip DIR] [--full]
    python3 devtools/quality.py --rehearse drawn

--photos holds a folder for each person: the first photo is what pictures are made from, the others
are held out and only compared with. --models is a folder like ComfyUI's `models`, for a server that
is started here; --server is one that runs already. The quick form makes 72 pictures: 4 people, 6
prompts, 1 seed, 3 settings; --full takes everybody, 12 prompts, 2 seeds and 5 settings. It ends in
one page with tables, curves and contact sheets (docs/quality.md says what they mean). Killed and
started again, it makes only what is missing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import env
import make_standins

INSIDE = "INSTANTID_QUALITY_COMFYUI"  # set in the environment's own process: its server's paths
FOLDER = env.STATE / "measured"
REHEARSALS = ("drawn", "standins")
NUMBERS = ("people", "seeds", "steps", "prompt_count")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--photos", type=Path, metavar="DIR", help="a folder for each person")
    add("--models", type=Path, metavar="DIR", help="real models, in folders as ComfyUI's")
    add("--server", metavar="URL", help="a ComfyUI that runs, as http://127.0.0.1:8188")
    add("--rehearse", choices=REHEARSALS, help="without real weights: see docs/quality.md")
    add("--full", action="store_true", help="everybody, 12 prompts, 2 seeds, 5 settings")
    add("--clip", type=Path, metavar="DIR", help="CLIP as transformers saves it")
    add("--recogniser", default="dlib", help="dlib, or the folder of an insightface pack")
    add("--prompts", type=Path, metavar="FILE", help="lines of `name: text`")
    add("--prompt-count", type=int, metavar="N", help="so many of them")
    add("--settings", type=Path, metavar="FILE", help="JSON of graphs and values")
    add("--only", action="append", default=[], metavar="NAME", help="this setting; repeatable")
    add("--people", type=int, metavar="N", help="at most so many")
    add("--seeds", type=int, metavar="N", help="for each person and prompt")
    add("--size", type=size, metavar="WxH", help="pixels, multiples of 8 (the graphs': 1024x1024)")
    add("--steps", type=int, metavar="N", help="of the sampling (the graphs': 30)")
    add("--cfg", type=float, help="of the sampling (the graphs': 5)")
    for name in ("checkpoint", "adapter", "identitynet"):
        add(f"--{name}", metavar="FILE", help="by the server's name for it")
    add("--output", type=Path, metavar="DIR", help=f"where all of it goes ({FOLDER})")
    env.add_arguments(parser)
    options = parser.parse_args(arguments)
    check(parser, options)
    kind = f"-{options.rehearse}" if options.rehearse else ""
    options.output = options.output or FOLDER.with_name(FOLDER.name + kind)
    return options


def size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,5})x(\d{2,5})", text)
    sides = tuple(map(int, found.groups())) if found else (0, 0)
    if any(side < 64 or side % 8 for side in sides):
        raise argparse.ArgumentTypeError(
            f"{text!r}; wanted WIDTHxHEIGHT in multiples of 8, at least 64, as 1024x1024"
        )
    return sides[0], sides[1]


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a sentence where the options do not fit together."""
    named = [name for name in ("photos", "models", "server", "clip") if getattr(options, name)]
    if options.rehearse and named:
        parser.error(f"--rehearse brings its own; leave out --{named[0]}")
    if not options.rehearse:
        if options.photos is None:
            parser.error("--photos DIR is missing: a folder with a folder for each person")
        if (options.models is None) == (options.server is None):
            parser.error("wanted either --models DIR or --server URL, and one of them only")
        if options.models is not None and not options.models.is_dir():
            parser.error(f"--models: there is no folder {options.models}")
    for name in NUMBERS:
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} is {value}; wanted 1 or more")


def set_up(options: argparse.Namespace) -> int:
    """Make the environments, then run this script again with quality's interpreter."""
    paths = {}
    if options.server is None:
        paths = json.loads(env.chosen(options).to_json())
    command = [str(env.ensure_quality()), str(Path(__file__).resolve()), *sys.argv[1:]]
    variables = {**os.environ, INSIDE: json.dumps(paths)}
    if os.name != "nt":
        os.execve(command[0], command, variables)
    return subprocess.call(command, env=variables)


def stop_politely(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    options = parse()
    inside = os.environ.pop(INSIDE, None)
    if inside is None:
        return set_up(options)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop_politely)
    paths = {name: Path(path) for name, path in json.loads(inside).items()}
    make_standins.checkout()
    room = f"{make_standins.PACKAGE}.devtools"
    errors = importlib.import_module(f"{room}.likeness_bench.errors")
    servers = importlib.import_module(f"{room}.comfy_server")
    command = importlib.import_module(f"{room}.likeness_bench.command")
    try:
        return command.run(options, paths.get("comfyui"), paths.get("python"))
    except (errors.QualityError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except servers.ServerError as error:
        print(f"ComfyUI says:\n{error}\nRun this again to go on.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Run this again to go on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
