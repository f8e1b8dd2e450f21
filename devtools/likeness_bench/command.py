"""What `quality.py` does once it runs in its environment: look, make, measure, show."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..comfy_server import Server, has_gpu, standin_models
from . import curves, metrics, page, rehearsal, sheets, tables
from .errors import NotReadyError, QualityError
from .graphs import FILES
from .judging import Judge, Photos, look_at_photos
from .making import Failure, Store, make_pictures
from .people import read_people
from .plan import Plan
from .prompts import OWN as OWN_PROMPTS
from .prompts import read_prompts
from .readers import ClipReader, Reader
from .recognisers import Recogniser, open_recogniser
from .rehearsal import Rehearsal
from .servers import Own, running, with_files
from .settings import OWN as OWN_SETTINGS
from .settings import read_settings
from .watching import bar

QUICK = {"people": 4, "prompts": 6, "seeds": 1, "settings": 3}
FULL = {"people": None, "prompts": 12, "seeds": 2, "settings": 5}


@dataclass
class Kit:
    """All that is ready before the server is asked; the plan gets the server's model files."""

    plan: Plan
    recogniser: Recogniser
    reader: Reader | None
    photos: Photos
    warnings: list[str]


def run(options: argparse.Namespace, comfyui: Path | None, python: Path | None) -> int:
    """Do the whole run; return the exit code. comfyui, python: of the server to start."""
    output: Path = options.output.resolve()
    own = _own(options, comfyui, python)
    made = None
    if options.rehearse:
        assert own is not None
        made = rehearsal.rehearse(options.rehearse, output / "rehearsal", own.models)
    kit = prepare(options, made)
    for line in (*kit.photos.notes, *kit.warnings):
        say(line)
    store = Store(output / "pictures")
    say("Starting ComfyUI" if own else f"Asking the ComfyUI at {options.server}")
    with running(options.server, own) as server:
        chosen = {name: getattr(options, name) for name in FILES}
        kit.plan = replace(kit.plan, settings=with_files(server, kit.plan.settings, chosen))
        failures = _make(kit.plan, server, store)
    place = show(kit, store, output, failures)
    for failure in failures:
        say(f"Not made: {failure}")
    say(f"Page: {place}")
    return 1 if failures else 0


def _own(options: argparse.Namespace, comfyui: Path | None, python: Path | None) -> Own | None:
    if options.server is not None:
        return None
    assert comfyui is not None and python is not None
    base = options.output.resolve() / "server"
    if options.rehearse:
        models = standin_models(comfyui, python, rehearsal.MODELS[options.rehearse])
        return Own(comfyui, python, models, base, cpu=True, dev_nodes=True)
    return Own(comfyui, python, options.models.resolve(), base, cpu=not has_gpu())


def common_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the inputs that the command line sets in all graphs."""
    width, height = options.size or (None, None)
    given = {"width": width, "height": height, "steps": options.steps, "cfg": options.cfg}
    return {name: value for name, value in given.items() if value is not None}


@contextlib.contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Note an error and go on: everything that is missing is told at once."""
    try:
        yield
    except QualityError as error:
        problems.append(str(error))


def prepare(options: argparse.Namespace, made: Rehearsal | None = None) -> Kit:
    """Read and open everything but the server. Raises NotReadyError that lists what is missing.

    made: what a rehearsal puts in the place of photos, prompts and judges.
    """
    form: Mapping[str, int | None] = FULL if options.full else QUICK
    problems: list[str] = []
    people, prompts, settings = [], [], []
    with _noting(problems):
        folder = made.photos if made else options.photos
        people = read_people(folder, options.people or form["people"])
    with _noting(problems):
        source = options.prompts or (made.prompts if made else OWN_PROMPTS)
        prompts = read_prompts(source, options.prompt_count or form["prompts"])
    with _noting(problems):
        settings = read_settings(
            options.settings or OWN_SETTINGS,
            options.only,
            None if options.settings else form["settings"],
            {**(made.common if made else {}), **common_of(options)},
        )
    with _noting(problems):
        _check_face_models(options)
    recogniser, reader = _judges(options, made, problems)
    if problems or recogniser is None:
        raise NotReadyError(problems)
    photos = look_at_photos(people, recogniser)
    if photos.problems:
        raise NotReadyError(photos.problems)
    plan = Plan(people, prompts, settings, options.seeds or form["seeds"] or 1)
    warnings = _warnings(plan, recogniser, reader, made)
    return Kit(plan, recogniser, reader, photos, warnings)


def _judges(
    options: argparse.Namespace, made: Rehearsal | None, problems: list[str]
) -> tuple[Recogniser | None, Reader | None]:
    """Open what looks at pictures; what cannot be opened is None, and a problem."""
    recogniser, reader = None, made.reader if made else None
    with _noting(problems):
        recogniser = open_recogniser(made.recogniser if made else options.recogniser)
    if options.clip is not None:
        with _noting(problems):
            reader = ClipReader(options.clip, "cuda" if has_gpu() else "cpu")
    return recogniser, reader


def _check_face_models(options: argparse.Namespace) -> None:
    """Tell of missing face models now: the server lists them, whether they are there or not."""
    if options.models is None:
        return
    from ...instantid_core import faces
    from ...instantid_core.errors import InstantIDError

    try:
        faces.find_pack(faces.DEFAULT_PACK, [options.models / "insightface"])
    except InstantIDError as error:
        raise QualityError(str(error)) from error


def _warnings(
    plan: Plan, recogniser: Recogniser, reader: Reader | None, made: Rehearsal | None
) -> list[str]:
    warnings = [made.warning if made else recogniser.warning]
    if reader is None:
        warnings.append(
            "CLIP-T and CLIP-I are left out: no CLIP was named with --clip, so that nothing here "
            "says how well the prompts are followed."
        )
    elif plan.without is None:
        warnings.append(
            f"{reader.alike_column} is left out: no setting is without InstantID, and there is "
            "nothing to compare with."
        )
    return [warning for warning in warnings if warning]


def _make(plan: Plan, server: Server, store: Store) -> list[Failure]:
    """Say what there is to do, and make what is missing."""
    cases = plan.cases
    done = len(cases) - len(store.missing(cases))
    say(
        f"{len(cases)} pictures (people {len(plan.people)} x prompts {len(plan.prompts)} x seeds "
        f"{plan.seeds} x settings {len(plan.settings)}), {done} of them there already"
    )
    return make_pictures(server, store, cases, bar("Making", done))


def show(kit: Kit, store: Store, output: Path, failures: list[Failure]) -> Path:
    """Measure what is there and write tables, curves, sheets and the page; return its path."""
    plan, reader = kit.plan, kit.reader
    judge = Judge(plan, store, kit.recogniser, reader, kit.photos)
    scores = judge.scores(bar("Measuring"))
    by_setting = {s.name: [x for x in scores if x.setting == s.name] for s in plan.settings}
    summaries = [metrics.summarise(name, own) for name, own in by_setting.items() if own]
    lines = metrics.lines_of(kit.photos.of)
    tables.write_scores(output / "pictures.csv", scores)
    tables.write_summaries(output / "settings.csv", summaries)
    text = reader and reader.text_column
    joined = {setting.name: setting.curve for setting in plan.settings}
    warnings = [*kit.warnings, *(f"Not made: {failure}" for failure in failures)]
    seen = page.Seen(
        facts=_facts(kit),
        summaries=summaries,
        lines=lines,
        text_column=text,
        alike_column=reader and reader.alike_column,
        curves=curves.write_curves(output / "curves", summaries, lines, text, joined),
        sheets=sheets.write_sheets(output / "sheets", plan, store),
        prompts={prompt.name: prompt.text for prompt in plan.prompts},
        warnings=warnings,
    )
    place = output / "index.html"
    page.write_page(place, seen)
    return place


def _facts(kit: Kit) -> dict[str, str]:
    plan = kit.plan
    (nodes, *_) = (setting.nodes for setting in plan.settings)
    values = {k: v for node in nodes.values() for k, v in node["inputs"].items()}
    names = ("ckpt_name", "width", "height", "steps", "cfg", "sampler_name", "scheduler")
    return {
        "People": ", ".join(
            f"{person.name} ({len(person.held_out)} held out)" for person in plan.people
        ),
        "Settings": ", ".join(setting.name for setting in plan.settings),
        "Seeds": f"{plan.seeds} for each person and prompt, the same for all settings",
        "Of the first setting": ", ".join(f"{k} {values[k]}" for k in names if k in values),
        "Recogniser": kit.recogniser.name,
        "Prompt and picture": kit.reader.name if kit.reader else "not measured",
    }


def say(text: str) -> None:
    print(text, flush=True)
