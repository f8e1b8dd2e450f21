"""Run the tests: make the private environment if it is missing, then pytest for each tier.

    python3 devtools/test.py [tier ...] [--long] [--frontend VERSION]
        [--comfyui-version 0.30.0 | --comfyui PATH] [--python PATH] [-- PYTEST ...]

A tier is a folder under tests/; CONTRIBUTING.md says what each needs. Without a name all but
`hard`, `fleet`, `meaning` and `quality` run, each in a process of its own. `hard`, `fleet` and
`meaning` run in short forms unless `--long` is given; without it, `browser` runs each example in
one of the two renderers, and only opens it in the other. `--frontend 1.58.1` gives `browser` that
frontend from PyPI, `--frontend newest` the newest there is. What stands after `--` goes to pytest,
for example `host -- -k masks -x`; a file named there is run alone.
The exit code is 1 when a tier fails, takes too long or has no test to run.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import env
from comfy_server import end_process, quick_python, start_process

ON_REQUEST = ("hard", "fleet", "meaning", "quality")  # run only where they are named
# Seconds that one test and a whole tier may take before they are stopped as hanging, and how many
# pytest processes run side by side, each with whole files of tests.
LIMITS = {
    "core": (120, 600, 2),
    "host": (300, 1500, 2),
    "server": (300, 1500, 2),
    "browser": (300, 1500, 2),
    "hard": (600, 2400, 2),
    "fleet": (600, 900, 0),
    "meaning": (600, 900, 2),
    "quality": (300, 600, 2),
}
LONG_LIMITS = (7200, 14400, 0)
LONG = "INSTANTID_TESTS_LONG"  # the environment variable that those tiers read
FRONTEND = "INSTANTID_TESTS_FRONTEND"  # the variable that tier `browser` reads: a folder


def variables_for(tier: str, ready: env.Environment, frontend: str | None) -> dict[str, str]:
    """Return the environment variables of a tier's pytest process.

    frontend: the version that `browser` runs in, where it is not the one ComfyUI names.
    """
    # The models are tiny: more threads only wait for each other.
    variables = {"OMP_NUM_THREADS": "1", **quick_python(), "PYTHONUNBUFFERED": "1"}
    variables["COMFYUI_PATH"] = str(ready.comfyui)
    if tier == "browser":
        variables["CHROMIUM"] = str(env.ensure_command(*env.BROWSER))
        if frontend:
            variables[FRONTEND] = str(env.ensure_frontend(frontend))
    if tier == "fleet":
        variables["REDIS_SERVER"] = str(env.ensure_command(*env.REDIS))
        variables["FLEET_PYTHON"] = str(env.ensure_fleet())
    if tier == "quality":
        variables["COMFYUI_PYTHON"] = str(ready.python)
    return variables


def run_tier(
    tier: str,
    ready: env.Environment,
    extra: list[str],
    *,
    long: bool = False,
    frontend: str | None = None,
) -> tuple[bool, str]:
    """Return whether a tier passed, and its counts or what else there is to say."""
    of_test, of_tier, workers = LONG_LIMITS if long else LIMITS[tier]
    python = env.ensure_quality() if tier == "quality" else ready.python
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = any((env.ROOT / part.partition("::")[0]).is_file() for part in extra)
        workers, where = (0, []) if files else (workers, [f"tests/{tier}"])
        command = [
            *(str(python), "-m", "pytest", "-q", f"--timeout={of_test}"),
            *(f"--junit-xml={report}", *where),
            *(f"--numprocesses={workers}", "--dist=loadfile", *extra),
        ]
        variables = {**variables_for(tier, ready, frontend), LONG: "1" if long else "0"}
        code = run_with_limit(command, variables, of_tier)
        if code is None:
            return False, f"stopped: the tier may take {of_tier} s"
        return judge(code, report)


def run_with_limit(command: list[str], variables: dict[str, str], seconds: int) -> int | None:
    """Run a command and return its exit code, or None when it was stopped after `seconds`.

    The command leads a process group of its own, so that what it started ends with it.
    """
    process = start_process(command, variables, cwd=env.ROOT)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end_process(process)


def judge(code: int, report: Path) -> tuple[bool, str]:
    """Return whether a tier passed and its counts; a tier in which no test ran has not passed."""
    counts = Counter[str]()
    if report.is_file():
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            counts.update({name: int(value) for name, value in suite.items() if value.isdecimal()})
    bad = counts["failures"] + counts["errors"]
    good = counts["tests"] - bad - counts["skipped"]
    summary = f"{good} passed, {bad} failed, {counts['skipped']} skipped"
    if code == 0 and good > 0:
        return True, summary
    if code in (0, 5):
        return False, f"no test ran ({summary})"
    return False, summary if bad else f"{summary}, pytest exit code {code}"


def main() -> int:
    # A polite end from outside leaves nothing running either: SystemExit passes through `finally`.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, extra = sys.argv[1:cut], sys.argv[cut + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tiers", nargs="*", metavar="tier", help=f"any of {', '.join(LIMITS)}")
    parser.add_argument("--long", action="store_true", help="hard, fleet, meaning: the whole")
    parser.add_argument("--frontend", metavar="VERSION", help="browser: 1.58.1, or newest")
    env.add_arguments(parser)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.tiers).difference(LIMITS))
    if unknown:
        parser.error(f"no such tier: {', '.join(unknown)} (there are {', '.join(LIMITS)})")
    ready = env.chosen(options)
    lines: list[str] = []
    for tier in options.tiers or [tier for tier in LIMITS if tier not in ON_REQUEST]:
        print(f"== {tier} on {ready.comfyui}", flush=True)
        how = {"long": options.long, "frontend": options.frontend}
        started = time.monotonic()
        passed, said = run_tier(tier, ready, extra, **how)
        verdict, seconds = "passed" if passed else "FAILED", time.monotonic() - started
        lines.append(f"{tier:<8} {verdict}  {said} in {seconds:.0f} s")
        print(flush=True)
    print("\n".join(lines), flush=True)
    return 1 if any(" FAILED " in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
