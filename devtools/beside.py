"""Try this pack beside the packs that people run, for somebody who has unpacked them.

    PYTHON devtools/beside.py --packs FOLDER [--comfyui PATH] [--python PYTHON] [--only PACK ...]
        [--table FILE]

FOLDER holds the other packs' folders, named as on GitHub. PYTHON has what ComfyUI and they need; it
is this interpreter unless named. A real ComfyUI server starts on the CPU with them, this pack and
the stand-in models; the combinations in devtools/neighbours are run in it and checked. Two more
servers compare the old node ids with the old pack itself. The table is printed and written to FILE,
docs/beside.md unless named; with --only, the lines of all other packs stay there as they are. A
pack that is not there, or that does not load, is a line that says so. The exit code is 1 if
something that was promised does not hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from comfy_server import ROOT, Server, ServerError, default_comfyui
from neighbours.checks import Runner, Verdict
from neighbours.combination import Combination
from neighbours.listed import COMBINATIONS, CORE, OLD_PACK, PACKS
from neighbours.old_pack import compare, models_for_the_old_pack
from neighbours.servers import Pack, comfyui_itself, find_pack, serve_beside, why_not_loaded

TABLE = ROOT / "docs" / "beside.md"
RIGHT, WRONG, UNTRIED = "right", "WRONG", "not tried"
HEAD = "| Pack | Commit | Combination | Result |\n|---|---|---|---|\n"
INTRODUCTION = """# Beside other packs

What `devtools/beside.py` found in a real ComfyUI server on the CPU, with this pack, the packs below
and stand-in models. Those have random weights: they prove structure, not beauty. Fetch the packs
you run into a folder and try them yourself:

    PYTHON devtools/beside.py --packs FOLDER

| What is checked | What it means |
|---|---|
| order | the same picture whether our nodes come before or after the other pack's |
| rerun | the same prompt gives the same picture again after another seed, on cached models |
| absence | weight 0 gives what is made with our node left out |
| effect | InstantID changes the picture, and so does the other pack beside it |
| our effect | InstantID changes the picture; the other pack's part is not one to be seen in it |
| slots | InstantID is called in all 70 cross-attention layers |
| roles | the face is in the positive and nowhere else, computed from pictures at CFG 1, 2 and 3 |
| like | the same picture another way: tile batch 1 and 4, windows or none, the stock node |
| elsewhere | with a mask at the top left, the bottom right corner is as without InstantID |
| says | the log, or the node that refuses, says what was left out |
| ids | the old node ids belong to the old pack where it is installed, and ours stay beside them |
| runs | it runs, and all numbers are finite |

"The same" is the same bits of a latent or a picture. Where a line names a difference, it is in
parts of the largest number: rows that are computed in another batch differ in their last bits.

"""


@dataclass(frozen=True)
class Line:
    """One line of the table. state: right, wrong or not tried; said: the checks, or why."""

    pack: Pack
    combination: str
    state: str
    said: str

    def __str__(self) -> str:
        cells = (self.pack.name, self.pack.commit, self.combination, f"{self.state}: {self.said}")
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packs", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--comfyui", type=Path, metavar="PATH", default=default_comfyui())
    parser.add_argument("--python", type=Path, help="the interpreter (this one)")
    parser.add_argument(
        "--only", action="append", choices=PACKS, metavar="PACK", help=", ".join(PACKS)
    )
    parser.add_argument("--table", type=Path, default=TABLE, metavar="FILE")
    options = parser.parse_args(arguments)
    options.comfyui = options.comfyui.resolve()
    if not options.packs.is_dir():
        parser.error(f"--packs: there is no folder {options.packs}")
    if not (options.comfyui / "main.py").is_file():
        parser.error(f"--comfyui: {options.comfyui} has no main.py")
    return options


def line_of(pack: Pack, combination: Combination, verdicts: Sequence[Verdict]) -> Line:
    right = [verdict for verdict in verdicts if verdict.holds]
    wrong = [verdict for verdict in verdicts if not verdict.holds]
    reasons = dict.fromkeys(verdict.said for verdict in wrong)
    said = "; ".join(
        ", ".join(v.check for v in wrong if v.said == reason) + (f" ({reason})" if reason else "")
        for reason in reasons
    )
    if right:
        said += "; right: " if wrong else ""
        said += ", ".join(_short(verdict) for verdict in right)
    if combination.note:
        said += f". {combination.note}"
    return Line(pack, combination.title, WRONG if wrong else RIGHT, said)


def _short(verdict: Verdict) -> str:
    """Name a check that holds, with its number where bits were not asked for."""
    is_plain = verdict.check in ("effect", "our effect", "slots", "roles", "runs", "says", "ids")
    is_same = verdict.said.endswith("by 0.0e+00")
    plain = is_plain or is_same or not verdict.said
    return verdict.check if plain else f"{verdict.check} ({verdict.said})"


def in_one_server(
    comfyui: Path, packs: Sequence[Pack], helpers: Sequence[Pack] = (), models: Path | None = None
) -> Iterator[Line]:
    """Yield the lines of the combinations with `packs`, in one server with them and `helpers`."""
    with serve_beside(comfyui, [*packs, *helpers], models=models) as server:
        nodes = server.get("/object_info")
        unloaded = {p.name: why_not_loaded(p, server.log) for p in [*packs, *helpers]}
        usable = {name for name, reason in unloaded.items() if reason is None}
        for pack in packs:
            if pack.name not in usable:
                reason = f"it does not load here ({unloaded[pack.name]})"
                yield Line(pack, "-", UNTRIED, reason)
                continue
            for combination in (c for c in COMBINATIONS if c.pack == pack.name):
                lacking = ", ".join(name for name in combination.needs if name not in usable)
                if lacking:
                    yield Line(pack, combination.title, UNTRIED, f"it needs {lacking}")
                else:
                    yield line_of(pack, combination, run(server, nodes, combination))


def run(server: Server, nodes: dict[str, object], combination: Combination) -> list[Verdict]:
    try:
        return Runner(server, nodes, combination).check_all()
    except ServerError as error:
        return [Verdict("runs", False, str(error)[-300:])]


def try_all(options: argparse.Namespace) -> Iterator[Line]:
    """Yield all lines: the packs that are not there, one server for all others, the old pack."""
    packs = [
        comfyui_itself(name, options.comfyui) if name == CORE else find_pack(name, options.packs)
        for name in options.only or PACKS
    ]
    yield from (Line(pack, "-", UNTRIED, "it is not there") for pack in packs if not pack.path)
    there = [pack for pack in packs if pack.path and pack.name != OLD_PACK]
    names = {pack.name for pack in there}
    needed = {name for c in COMBINATIONS if c.pack in names for name in c.needs} - names
    if there:
        helpers = [find_pack(name, options.packs) for name in sorted(needed)]
        helpers = [helper for helper in helpers if helper.path]
        yield from in_one_server(options.comfyui, there, helpers)
    for pack in packs:
        if pack.path and pack.name == OLD_PACK:
            yield from beside_the_old_pack(options.comfyui, pack)


def beside_the_old_pack(comfyui: Path, pack: Pack) -> Iterator[Line]:
    """Yield its lines from servers of its own: where it is, our old ids step aside."""
    with models_for_the_old_pack(comfyui) as models:
        lines = list(in_one_server(comfyui, [pack], models=models))
        yield from lines
        if any(line.state == UNTRIED for line in lines):
            return
        for title, verdicts in compare(comfyui, pack, models):
            yield line_of(pack, Combination(pack.name, title, (), ()), verdicts)


def call_again(options: argparse.Namespace) -> int:
    """Run this script in the interpreter that was named."""
    command = [options.python, __file__, "--packs", options.packs, "--comfyui", options.comfyui]
    command += ["--table", options.table]
    for name in options.only or ():
        command += ["--only", name]
    return subprocess.call([str(part) for part in command])


def write(table: Path, lines: Sequence[Line]) -> None:
    """Write the table, pack by pack; of packs that were not looked for, keep what stands there."""
    found = {line.pack.name for line in lines}
    before = table.read_text("utf-8").splitlines() if table.is_file() else []
    rows = [str(line) for line in lines]
    for name in PACKS:
        if name not in found:
            rows += [row for row in before if row.startswith(f"| {name} |")]
    rows.sort(key=lambda row: PACKS.index(row.split(" | ")[0].removeprefix("| ")))
    table.write_text(INTRODUCTION + HEAD + "\n".join(rows) + "\n", "utf-8")


def main() -> int:
    options = parse()
    if options.python:
        return call_again(options)
    began = time.monotonic()
    print(HEAD, end="", flush=True)
    lines: list[Line] = []
    for line in try_all(options):
        print(line, flush=True)
        lines.append(line)
    write(options.table, lines)
    wrong = sum(line.state == WRONG for line in lines)
    print(f"\n{len(lines)} lines, {wrong} wrong, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
