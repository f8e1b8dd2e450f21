"""Make the checkout ready for a release, or check that it is.

    python3 devtools/release.py VERSION            write the version, head the changelog, check
    python3 devtools/release.py VERSION --check    only check, as the publish workflow does

VERSION, such as 0.2.0, is written into pyproject.toml; what stands under "Unreleased" in
CHANGELOG.md gets the version and today's date as its head. The archive that the registry would get
is packed from the tracked files, unpacked into an empty ComfyUI, and the basic workflow runs there
on stand-in models. Nothing is committed, tagged or sent: the last lines say what is left to do.
The exit code is 1, with a sentence, when something does not fit.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import env
import lint
from comfy_server import PACK_NAME, Prompt, serve

PROJECT = env.ROOT / "pyproject.toml"
CHANGELOG = env.ROOT / "CHANGELOG.md"
BASIC = env.ROOT / "example_workflows" / "api" / "instantid_basic.json"
HEAD = "## Unreleased"
VERSION_LINE = re.compile(r'^version = "([^"]*)"$', re.MULTILINE)
INSIDE = "INSTANTID_RELEASE_STARTED"  # set in the environment's own process


class NotReadyError(Exception):
    """The checkout cannot be released; the text says why and what to do."""


def numbers(version: str) -> tuple[int, ...]:
    """Return the three numbers of a version. Raises NotReadyError for anything else."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise NotReadyError(f"{version!r} is no version. Wanted three numbers, such as 0.2.0.")
    return tuple(map(int, found.groups()))


def with_version(project: str, version: str) -> str:
    """Return pyproject.toml with a version that is above the one in it."""
    found = VERSION_LINE.search(project)
    if found is None:
        raise NotReadyError("pyproject.toml has no line `version = ...`.")
    if numbers(version) <= numbers(found[1]):
        raise NotReadyError(f"{version} is not above {found[1]}, the version in pyproject.toml.")
    return VERSION_LINE.sub(f'version = "{version}"', project)


def with_head(changelog: str, version: str, day: datetime.date) -> str:
    """Return the changelog with what is unreleased under a head of its own."""
    before, head, after = changelog.partition(f"{HEAD}\n")
    entries = after.partition("\n## ")[0]
    if not head or "\n- " not in entries:
        raise NotReadyError(
            f'CHANGELOG.md has nothing under "{HEAD}". Say there what a user gets, then try again.'
        )
    return f"{before}{HEAD}\n\n## {version} ({day.isoformat()})\n{after}"


def check_texts(project: str, changelog: str, version: str) -> None:
    """Raise NotReadyError unless both files are of this version."""
    found = VERSION_LINE.search(project)
    if found is None or found[1] != version:
        told = found[1] if found else "no version"
        raise NotReadyError(f"pyproject.toml says {told}; wanted {version}.")
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        raise NotReadyError(f'CHANGELOG.md has no head "## {version} (year-month-day)".')


def unpacked(place: Path) -> None:
    """Pack the tracked files as the registry would, and unpack the archive at `place`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pack"
        lint.copy_tracked(copy)
        lint.comfy("pack", cwd=copy)
        with zipfile.ZipFile(copy / "node.zip") as archive:
            archive.extractall(place)


def small(prompt: Prompt) -> Prompt:
    """Return the basic workflow at a size that the stand-in models make in seconds."""
    for node in prompt.values():
        if node["class_type"] == "EmptyLatentImage":
            node["inputs"].update(width=256, height=192)
        if node["class_type"] == "KSampler":
            node["inputs"]["steps"] = 2
    return prompt


def run_archive(environment: env.Environment) -> str:
    """Run the basic workflow in an empty ComfyUI that has the archive only; return what was made.

    The nodes that let ComfyUI read the small stand-in models are there beside it.
    """
    with tempfile.TemporaryDirectory(prefix="instantid-release-") as folder:
        base = Path(folder)
        unpacked(base / "custom_nodes" / PACK_NAME)
        prompt = small(json.loads(BASIC.read_text(encoding="utf-8")))
        given = {"comfyui": environment.comfyui, "python": environment.python}
        with serve(base=base, pack=False, **given) as server:
            result = server.run(prompt)
            made = [image for node in result.outputs for image in result.images(node)]
            saved = [image["filename"] for image in made if image["type"] == "output"]
    if not saved:
        raise NotReadyError("The unpacked archive ran the basic workflow but saved no picture.")
    return ", ".join(saved)


def restart(environment: env.Environment) -> int:
    """Run this command in the environment, which has what talking to a server needs."""
    variables = {**env.os.environ, INSIDE: "1"}
    return subprocess.run([environment.python, *sys.argv], env=variables).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("version")
    parser.add_argument("--check", action="store_true", help="change nothing")
    env.add_arguments(parser)
    options = parser.parse_args()
    environment = env.chosen(options)
    if INSIDE not in env.os.environ:
        return restart(environment)
    version = options.version.removeprefix("v")
    try:
        project, changelog = (p.read_text(encoding="utf-8") for p in (PROJECT, CHANGELOG))
        if not options.check:
            project = with_version(project, version)
            changelog = with_head(changelog, version, datetime.date.today())
            PROJECT.write_text(project, encoding="utf-8")
            CHANGELOG.write_text(changelog, encoding="utf-8")
        check_texts(project, changelog, version)
        if not lint.check_archive():
            raise NotReadyError("The archive does not hold what it should; see above.")
        print(f"The archive, unpacked into an empty ComfyUI, made {run_archive(environment)}.")
    except NotReadyError as error:
        print(error)
        return 1
    print(
        f"{version} is ready. Left to do: read CHANGELOG.md, then\n"
        f"    git commit -am 'Release {version}' && git tag v{version} && git push --tags\n"
        "The tag starts the workflow `publish`."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
