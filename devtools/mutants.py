"""Put deliberate faults into the product, one at a time, and see whether the tests notice.

    python3 devtools/mutants.py [FILE ...] [--sample N] [--seed N] [--changed REV] [--most N]
        [--minutes N] [--survivors] [--results FILE]

Each fault is tried in a copy of the checkout against the test files that claim its module in
tests/claims.toml, those of the tiers core and host: the tests of them that run the function it is
in, the quickest first, for 40 seconds at most. Which these are is measured first, without a fault;
for nodes that takes minutes. FILE: all faults of these modules. --sample: at
random, at least ten from every module of more than 150 lines, at least N in all; the seed says
which. --changed: only modules that differ from a commit. --most: at most so many, the first of the
sample. --survivors: those that went unnoticed, again, for as long as it takes. Results are kept in
.dev/mutants.jsonl, line by line; what stands there is not tried again. The last lines list what
nobody noticed: a test is missing, or the fault changes nothing; that is for people to judge, so
the exit code is 0.
Operators are those of Cosmic Ray and, for the wiring between functions, of `argument_faults`.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import env
from comfy_server import end_with_parent
from mutant_trials import BUDGET, PRODUCT, Trials, UnsoundError, preload

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = env.ROOT
RESULTS = env.STATE / "mutants.jsonl"
LONG, LEAST = 150, 10  # lines of a module, and how many of its faults a sample has at least


@dataclass(frozen=True)
class Site:
    """Where a fault goes: the `occurrence`-th place of a module that an operator can change."""

    module: str
    operator: str
    occurrence: int


@dataclass(frozen=True)
class Mutant:
    """A fault. line, before, after: what it changes. code: the whole module with it."""

    site: Site
    line: int
    before: str
    after: str
    code: str

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.site.module}\n{self.code}".encode()).hexdigest()[:16]


def modules() -> list[str]:
    """Return every module of the product, as a path from the checkout's root."""
    found = (path for room in PRODUCT for path in (ROOT / room).rglob("*.py"))
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def claims(module: str) -> list[str]:
    """Return the test files that claim a module, in the order in which they are run."""
    table = tomllib.loads((ROOT / "tests" / "claims.toml").read_text(encoding="utf-8"))
    found: list[str] = []
    for pattern, files in table.items():
        if fnmatch.fnmatch(module, pattern) and module.count("/") == pattern.count("/"):
            found += [f"tests/{file}" for file in files if f"tests/{file}" not in found]
    return found


def operators() -> dict[str, Any]:
    """Return what makes faults, by name."""
    from argument_faults import ARGUMENT_FAULTS
    from cosmic_ray.operators.provider import OperatorProvider

    provider = OperatorProvider()
    needs_names = ("VariableReplacer", "VariableInserter")
    known = {name: provider[name] for name in provider if name not in needs_names}
    return {name: made() for name, made in {**known, **ARGUMENT_FAULTS}.items()}


def places(module: str) -> list[Site]:
    """Return every place of a module at which a fault can be made."""
    from cosmic_ray.ast import ast_nodes, get_ast

    nodes = list(ast_nodes(get_ast((ROOT / module).read_text(encoding="utf-8"))))
    return [
        Site(module, name, number)
        for name, operator in operators().items()
        for number in range(sum(len(list(operator.mutation_positions(node))) for node in nodes))
    ]


def mutant_at(site: Site) -> Mutant | None:
    """Return the fault at a place; None if the code means the same with it, or nothing at all."""
    from cosmic_ray.mutating import mutate_code

    source = (ROOT / site.module).read_text(encoding="utf-8")
    code = mutate_code(source, operators()[site.operator], site.occurrence)
    if code is None:
        return None
    try:
        if meaning(code) == meaning(source):
            return None
    except SyntaxError:
        return None
    pairs = zip(source.splitlines(), code.splitlines(), strict=False)
    for number, (before, after) in enumerate(pairs, 1):
        if before != after:
            return Mutant(site, number, before.strip(), after.strip(), code)
    return None


def meaning(code: str) -> str:
    """Return a module without what cannot matter when it runs: annotations and docstrings."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
    return ast.dump(tree)


def sampled(found: Sequence[str], least: int, seed: int) -> Iterator[Mutant]:
    """Choose faults at random, without an end for the whole: the caller stops at its number.

    At least LEAST from every long module come first, in a random order of their own. Which ones
    depends on the module alone, so that a change of another one leaves its results in use.
    """
    first: list[Mutant] = []
    rest: list[Site] = []
    for module in found:
        dice = random.Random(f"{seed} {module}")
        own = places(module)
        dice.shuffle(own)
        is_long = len((ROOT / module).read_text(encoding="utf-8").splitlines()) > LONG
        wanted = LEAST if is_long else 0
        while own and wanted:
            mutant = mutant_at(own.pop())
            if mutant is not None:
                first.append(mutant)
                wanted -= 1
        rest += own
    dice = random.Random(seed)
    dice.shuffle(first)
    dice.shuffle(rest)
    yield from first
    yield from itertools.islice(made(rest), max(0, least - len(first)))


def changed_since(revision: str) -> list[str]:
    """Return the product's modules that differ from a commit."""
    command = ["git", "diff", "--name-only", revision, "--", *PRODUCT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"Nothing to compare with: {done.stderr.strip().splitlines()[0]}")
    return [name for name in done.stdout.split() if name in modules()]


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return what was found out before, by the key of the fault."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def try_all(
    mutants: Iterable[Mutant], path: Path, *, again: bool, end: float
) -> list[dict[str, Any]]:
    """Try faults that were not tried before; return what is known of each of them.

    end: when to begin no other one, in seconds of time.monotonic.
    """
    known = read(path)
    found: list[dict[str, Any]] = []
    trials = Trials(ROOT, path.with_suffix(""))
    for number, mutant in enumerate(mutants, 1):
        if time.monotonic() > end:
            break
        entry = None if again else known.get(mutant.key)
        if entry is None:
            module, files = mutant.site.module, claims(mutant.site.module)
            budget = float("inf") if again else BUDGET
            try:
                chosen = trials.chosen(module, mutant.line, files, budget)
            except UnsoundError as error:
                print(f"{number}: not tried, {module}:{mutant.line}. {error}")
                continue
            begun = time.monotonic()
            noticed = trials.is_noticed(module, mutant.code, chosen)
            seconds = round(time.monotonic() - begun, 1)
            entry = {**asdict(mutant.site), "key": mutant.key, "noticed": noticed}
            entry |= {"line": mutant.line, "before": mutant.before, "after": mutant.after}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**entry, "seconds": seconds}) + "\n")
            print(f"{number}: {told(entry)} ({seconds} s)", flush=True)
        found.append(entry)
    return found


def told(entry: dict[str, Any]) -> str:
    verdict = "noticed " if entry["noticed"] else "SURVIVED"
    where = f"{entry['module']}:{entry['line']}"
    return f"{verdict} {where} {entry['before']}  ->  {entry['after'] or '(nothing)'}"


def made(found: Iterable[Site]) -> Iterator[Mutant]:
    """Yield the faults at places, one after the other: making one takes a moment."""
    return (mutant for place in found if (mutant := mutant_at(place)) is not None)


def chosen(options: argparse.Namespace) -> tuple[Iterator[Mutant], int]:
    """Return the faults that the command line asks for, and how many there are at most."""
    if options.survivors:
        old = [entry for entry in read(options.results).values() if not entry["noticed"]]
        named = [Site(e["module"], e["operator"], e["occurrence"]) for e in old]
        keys = {entry["key"] for entry in old}
        return (mutant for mutant in made(named) if mutant.key in keys), len(named)
    asked = [Path(file).resolve().relative_to(ROOT).as_posix() for file in options.files]
    found = changed_since(options.changed) if options.changed else asked or modules()
    if options.sample:
        return sampled(found, options.sample, options.seed), options.sample
    every = [place for module in found for place in places(module)]
    if options.changed:
        random.Random(options.seed).shuffle(every)
    return made(every), len(every)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--sample", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--changed", metavar="REV")
    parser.add_argument("--most", type=int, metavar="N")
    parser.add_argument("--minutes", type=float, default=float("inf"), metavar="N")
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return the exit code."""
    options = parsed(arguments)
    if "COMFYUI_PATH" not in os.environ:
        ready = env.ensure()
        variables = {**os.environ, "COMFYUI_PATH": str(ready.comfyui), "OMP_NUM_THREADS": "1"}
        command = [str(ready.python), __file__, *(arguments or sys.argv[1:])]
        inside = subprocess.Popen(command, env=variables, preexec_fn=end_with_parent)
        return inside.wait()
    end = time.monotonic() + 60 * options.minutes
    mutants, count = chosen(options)
    found: list[dict[str, Any]] = []
    if count:
        preload(os.environ["COMFYUI_PATH"], ROOT)
        options.results.parent.mkdir(parents=True, exist_ok=True)
        first = itertools.islice(mutants, options.most)
        found = try_all(first, options.results, again=options.survivors, end=end)
    survivors = [entry for entry in found if not entry["noticed"]]
    left = max(0, count - len(found))
    print(f"\n{len(found)} faults, {len(survivors)} unnoticed, {left} left out")
    for entry in survivors:
        print(told(entry))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
