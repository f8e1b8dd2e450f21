"""Run the checks that read the code but do not run it, each on the whole checkout.

    python3 devtools/lint.py [check ...] [--fix] [--comfyui PATH]

`ruff` and `format` are style, `names` refuses names that were given up (old_names.py), `types` is
pyright, `registry` what the ComfyUI registry asks of a pack, `portable` that it works on Windows
and in the frontend, `archive` that the published archive holds what users need and nothing else,
`comfyui` that what the pack takes from ComfyUI's modules is there and is called as it wants to be:
in the trees that the tests run on, or in the one of --comfyui, such as a newer one. The exit code
is 1 when a check finds something. --fix puts right beforehand what ruff can.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import env
import old_names

# What must be in the published archive, and what must not: the first parts of file names.
PUBLISHED = (
    *("__init__.py", "nodes/", "instantid_core/", "pyproject.toml", "requirements.txt"),
    *("example_workflows/", "web/docs/", "web/js/", "locales/en/", "README.md", "LICENSE"),
)
PRIVATE = ("devtools/", "tests/", "fleet/", ".ci/", ".git", ".comfyignore")

# Warnings of the portability linter that are meant to be: core imports no comfy, so it reads
# pickles with torch.load, which runs no code in them with weights_only.
KNOWN_WARNINGS = ("torch.load",)


def tool(name: str) -> str:
    return str(env.ensure_tools() / name)


def passes(*command: str) -> bool:
    return subprocess.run(command, cwd=env.ROOT, stdin=subprocess.DEVNULL).returncode == 0


def output_of(*command: str, cwd: Path = env.ROOT) -> str:
    """Return what a command printed, after showing it; its exit code says nothing (see callers)."""
    result = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = result.stdout.decode("utf-8", errors="replace")
    print(said, end="", flush=True)
    return said


def check_names() -> bool:
    """Look into the tracked files for names that were given up."""
    lines = old_names.found_in(env.ROOT, tracked())
    print("\n".join(lines) or "no old name")
    return not lines


def comfy(*arguments: str, cwd: Path = env.ROOT) -> str:
    quiet = ("--skip-prompt", "--no-enable-telemetry")
    return output_of(tool("comfy"), *quiet, "node", *arguments, cwd=cwd)


def check_registry() -> bool:
    """The validator exits with 0 even with findings; only its last sentence tells."""
    output = comfy("validate")
    return "All validation checks passed" in output and "Warning" not in output


def check_portable() -> bool:
    """The linter exits with 0 on mere warnings; here they count, but for the known ones."""
    output = output_of(tool("comfy-test"), "lint", "--strict")
    warnings = [line for line in output.splitlines() if re.match(r"\s+Line \d+[:,]", line)]
    new = [line for line in warnings if not any(known in line for known in KNOWN_WARNINGS)]
    return output.count("] PASSED") == 2 and not new


def check_archive() -> bool:
    """Pack a clean copy of the tracked files and look at what is inside."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pack"
        copy_tracked(copy)
        comfy("pack", cwd=copy)
        names = zipfile.ZipFile(copy / "node.zip").namelist()
    missing = [part for part in PUBLISHED if not any(name.startswith(part) for name in names)]
    private = [name for name in names if name.startswith(PRIVATE)]
    print(f"{len(names)} files; missing: {missing or 'none'}; to be left out: {private or 'none'}")
    return not missing and not private


def check_comfyui(tree: Path | None = None) -> bool:
    """Hold the imports and calls of ComfyUI's modules against one tree, or those of the tests."""
    trees = [tree] if tree else map(env.ensure_tree, env.RELEASES)
    return all([holds_against(tree) for tree in trees])


def holds_against(tree: Path) -> bool:
    """Ask comfy-import-guard, which reads ComfyUI out of git and packs out of custom_nodes."""
    with tempfile.TemporaryDirectory() as folder:
        comfyui, install = Path(folder) / "ComfyUI", Path(folder) / "install"
        comfyui.mkdir()
        for part in (*tree.glob("comfy*/"), *tree.glob("*.py")):
            copy = shutil.copytree if part.is_dir() else shutil.copy2
            copy(part, comfyui / part.name)
        repository(comfyui)
        who = ("-c", "user.name=lint", "-c", "user.email=lint@localhost")
        subprocess.run(["git", *who, "commit", "-qm", str(tree)], cwd=comfyui, check=True)
        copy_tracked(install / "custom_nodes" / env.ROOT.name)
        print(tree, flush=True)
        return passes(
            *(tool("comfy-import-guard"), "--offline", "--quiet", "--cache-dir", folder, "check"),
            *("--comfy-dir", str(install), "--target", "HEAD", "--no-update", "--strict"),
        )


def tracked() -> list[str]:
    """Return the tracked files that are there, as paths from the root."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=env.ROOT, encoding="utf-8")
    return [name for name in listed.split("\0") if name and (env.ROOT / name).is_file()]


def copy_tracked(target: Path) -> None:
    """Copy the tracked files as they stand into a git repository of their own at `target`."""
    for name in tracked():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(env.ROOT / name, target / name)
    repository(target)


def repository(folder: Path) -> None:
    """Make a folder a git repository with all of its files staged."""
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", "add", "--all", "--force"], cwd=folder, check=True)


CHECKS: dict[str, Callable[[], bool]] = {
    "ruff": lambda: passes(tool("ruff"), "check", "."),
    "format": lambda: passes(tool("ruff"), "format", "--check", "."),
    "names": check_names,
    "types": lambda: passes(tool("pyright"), "--pythonpath", str(env.ensure().python)),
    "registry": check_registry,
    "portable": check_portable,
    "archive": check_archive,
    "comfyui": check_comfyui,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checks", nargs="*", metavar="check", help=f"any of {', '.join(CHECKS)}")
    parser.add_argument("--fix", action="store_true", help="put right what ruff can")
    parser.add_argument("--comfyui", type=Path, metavar="PATH", help="the tree of `comfyui`")
    options = parser.parse_args()
    checks = {**CHECKS, "comfyui": lambda: check_comfyui(options.comfyui)}
    if options.fix:
        passes(tool("ruff"), "check", "--quiet", "--fix", ".")
        passes(tool("ruff"), "format", "--quiet", ".")
    wanted = options.checks or list(CHECKS)
    unknown = sorted(set(wanted).difference(CHECKS))
    if unknown:
        parser.error(f"no such check: {', '.join(unknown)} (there are {', '.join(CHECKS)})")
    lines: list[str] = []
    for name in wanted:
        print(f"== {name}", flush=True)
        started = time.monotonic()
        verdict = "passed" if checks[name]() else "FAILED"
        lines.append(f"{name:<9} {verdict} in {time.monotonic() - started:.0f} s")
    print("\n".join(["", *lines]), flush=True)
    return 1 if any(" FAILED " in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
