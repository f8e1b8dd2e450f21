"""From a table of people, prompts and seeds to one plain API prompt per picture.

A RUN folder holds:

    plan.json                what the run is; written last, so that half a plan is none
    jobs.jsonl               a line per picture: id, person, identity, seed, picture, settings,
                             prompt (the API prompt itself)
    identities/KEY.safetensors    each person once; from a photo they come with `encode`
    pictures/ID.png, ID.json      a picture and its sidecar; the sidecar says that it is done
    dead/ID.json             why a picture will not come
    running/, tmp/           what is being made, and files that are not whole yet
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import FleetError
from .graph import Graph, Places, fill, find_node, find_places, fitting, load_graph, upstream

FORMAT = "faithful-instantid fleet plan"
VERSION = 1
PLAN, JOBS = "plan.json", "jobs.jsonl"
KEY_LENGTH = 32  # hexadecimal digits of a sha256
IDENTITY_FOLDER = "instantid_identities"  # where Load Identity looks, within input and output
UPLOADS = "fleet"  # the fleet's own folder within it
IDENTITY_FORMAT = "faithful-instantid identity"
LARGEST_IDENTITY = 1 << 20  # bytes, as Load Identity takes them
COLUMNS = ("person", "photo", "identity", "prompt", "negative", "seed")
MOST_COMPLAINTS = 20

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One picture to make.

    id: of the filled graph and the identity's bytes, 32 hexadecimal digits. identity: the key of
    the identity file. picture: the node whose pictures count. settings: equal for jobs that differ
    in texts and seed alone. prompt: the API prompt.
    """

    id: str
    person: str
    identity: str
    seed: int | None
    picture: str
    settings: str
    prompt: Graph


@dataclass(frozen=True)
class Source:
    """Where a person comes from: key of the bytes; the photo that is still to be encoded, or the
    content of the identity file."""

    key: str
    photo: Path | None = None
    content: bytes = b""


@dataclass(frozen=True)
class Planned:
    """What a plan came to: jobs, rows that are the same picture as another, people, photos."""

    jobs: int
    repeated: int
    people: int
    photos: int


def make_plan(table: Path, graph_file: Path, out: Path, picture: str | None = None) -> Planned:
    """Write the RUN folder `out`; FleetError lists the rows that cannot be planned."""
    if (out / PLAN).exists():
        raise FleetError(f"{out} holds a plan already. Choose another folder for a new one.")
    graph = load_graph(graph_file)
    places = find_places(graph, picture)
    sources = Sources(table.parent)
    jobs: dict[str, Job] = {}
    rows, complaints = 0, []
    for number, row in read_rows(table):
        rows += 1
        try:
            job = make_job(graph, places, row, sources)
            jobs.setdefault(job.id, job)
        except FleetError as error:
            complaints.append(f"row {number}: {error}")
    if complaints or not jobs:
        more = len(complaints) - MOST_COMPLAINTS
        shown = complaints[:MOST_COMPLAINTS] + ([f"and {more} more"] if more > 0 else [])
        raise FleetError("\n".join(shown) or f"{table} has no row.")
    write_plan(out, graph, places, list(jobs.values()), sources)
    photos = sum(source.photo is not None for source in sources.found.values())
    return Planned(len(jobs), rows - len(jobs), len(sources.found), photos)


def read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield (row number from 1, columns) of CSV or JSON Lines; empty columns are left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows: Iterable[Any]
            if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
                rows = (json.loads(line) for line in file if line.strip())
            else:
                rows = csv.DictReader(file)
            for number, row in enumerate(rows, 1):
                if not isinstance(row, dict) or None in row:
                    raise FleetError(f"{path}, row {number}: it does not have the table's columns")
                yield number, {key: value for key, value in row.items() if value not in (None, "")}
    except (OSError, ValueError, csv.Error) as error:
        raise FleetError(f"{path} cannot be read as CSV or JSON Lines: {error}") from error


class Sources:
    """The people of a table, each file read once. base: what relative paths start from."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.files: dict[str, Source] = {}
        self.found: dict[str, Source] = {}

    def of(self, row: Row) -> Source:
        photo, identity = row.get("photo"), row.get("identity")
        if (photo is None) == (identity is None):
            raise FleetError("give one of `photo` and `identity`, a file")
        name = str(photo or identity)
        if name not in self.files:
            self.files[name] = self._read(self.base / name, is_photo=photo is not None)
        source = self.files[name]
        return self.found.setdefault(source.key, source)

    def _read(self, path: Path, *, is_photo: bool) -> Source:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FleetError(f"{path} cannot be read: {error.strerror}") from error
        key = digest(content)
        if is_photo:
            return Source(key, photo=path.resolve())
        check_identity(path, content)
        return Source(key, content=content)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:KEY_LENGTH]


def check_identity(path: Path | str, content: bytes) -> None:
    """Raise FleetError unless the bytes are a file of Save Identity: its header says so."""
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length]) if 0 < length < len(content) else {}
        good = header["__metadata__"]["format"] == IDENTITY_FORMAT
    except (ValueError, KeyError, TypeError):
        good = False
    if not good or len(content) > LARGEST_IDENTITY:
        raise FleetError(f"{path} is not a file of Save Identity")


def identity_name(key: str) -> str:
    """Return how Load Identity knows the uploaded file of a key."""
    return f"{UPLOADS}/{key}.safetensors"


def make_job(graph: Graph, places: Places, row: Row, sources: Sources) -> Job:
    """Return the job of a row; FleetError says what is wrong with it."""
    source = sources.of(row)
    values = {(places.identity, "file"): identity_name(source.key)}
    values.update(_texts(places, row))
    values.update(_seed_values(places, row))
    for column in row:
        if column not in COLUMNS:
            values.update([_own_input(graph, column, row[column])])
    prompt = fill(graph, values)
    seed = prompt[places.seeds[0][0]]["inputs"][places.seeds[0][1]] if places.seeds else None
    whole = json.dumps(prompt, sort_keys=True, ensure_ascii=False) + source.key
    return Job(
        id=digest(whole.encode()),
        person=str(row.get("person", source.key[:8])),
        identity=source.key,
        seed=seed,
        picture=places.picture,
        settings=_settings(prompt, places),
        prompt=prompt,
    )


def _texts(places: Places, row: Row) -> Iterator[tuple[tuple[str, str], str]]:
    for column in ("prompt", "negative"):
        if column in row:
            node = getattr(places, column)
            if node is None:
                raise FleetError(
                    f"the graph has no single node with the text of `{column}`; use a column "
                    "NODE.text in its place"
                )
            yield (node, "text"), str(row[column])


def _seed_values(places: Places, row: Row) -> Iterator[tuple[tuple[str, str], int]]:
    if "seed" in row:
        if not places.seeds:
            raise FleetError("the graph has no seed; use a column NODE.seed")
        try:
            seed = int(row["seed"])
        except (TypeError, ValueError) as error:
            raise FleetError(f"seed is {row['seed']!r}; wanted a whole number") from error
        for place in places.seeds:
            yield place, seed


def _own_input(graph: Graph, column: str, value: Any) -> tuple[tuple[str, str], Any]:
    node, dot, name = column.rpartition(".")
    if not dot:
        raise FleetError(
            f"unknown column {column!r}; there are {', '.join(COLUMNS)} and NODE.INPUT, such as "
            "15.steps"
        )
    node = find_node(graph, node)
    return (node, name), fitting(graph, node, name, value)


def _settings(prompt: Graph, places: Places) -> str:
    blanks: dict[tuple[str, str], Any] = {place: 0 for place in places.seeds}
    for node in (places.prompt, places.negative):
        if node is not None:
            blanks[node, "text"] = ""
    return digest(json.dumps(fill(prompt, blanks), sort_keys=True).encode())[:12]


def write_plan(out: Path, graph: Graph, places: Places, jobs: list[Job], sources: Sources) -> None:
    identities = out / "identities"
    identities.mkdir(parents=True, exist_ok=True)
    for source in sources.found.values():
        if source.content:
            (identities / f"{source.key}.safetensors").write_bytes(source.content)
    with (out / JOBS).open("w", encoding="utf-8", newline="\n") as file:
        for job in in_order(jobs):
            file.write(json.dumps(asdict(job), ensure_ascii=False) + "\n")
    photos = {key: str(source.photo) for key, source in sources.found.items() if source.photo}
    plan = {
        "format": FORMAT,
        "version": VERSION,
        "run": uuid.uuid4().hex,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "jobs": len(jobs),
        "photos": photos,
        "encode": encode_graph(graph, places) if photos else None,
    }
    (out / PLAN).write_text(json.dumps(plan, indent=1, ensure_ascii=False), encoding="utf-8")


def in_order(jobs: list[Job]) -> list[Job]:
    """Return the jobs with those that share models, person, settings and texts side by side."""

    def models(job: Job) -> str:
        loaders = [node["inputs"] for node in job.prompt.values() if "Loader" in node["class_type"]]
        return json.dumps(loaders, sort_keys=True)

    return sorted(jobs, key=lambda job: (models(job), job.settings, json.dumps(job.prompt)))


def encode_graph(graph: Graph, places: Places) -> Graph:
    """Return a graph that makes an identity of a photo, with the adapter of the portrait's."""
    adapter = graph[places.identity]["inputs"]["adapter"]
    face = {
        "face_analyzer": ["fleet_analyzer", 0],
        "adapter": adapter,
        "image": ["fleet_photo", 0],
        "pick": "largest",
        "index": 0,
        "combine": "mean",
        "on_missing": "error",
    }
    analyzer = {"pack": "antelopev2", "provider": "auto"}
    save = {"identity": ["fleet_face", 0], "filename_prefix": ""}
    return {
        **upstream(graph, adapter),
        "fleet_photo": {"class_type": "LoadImage", "inputs": {"image": ""}},
        "fleet_analyzer": {"class_type": "IID_LoadFaceAnalyzer", "inputs": analyzer},
        "fleet_face": {"class_type": "IID_EncodeFace", "inputs": face},
        "fleet_save": {"class_type": "IID_SaveIdentity", "inputs": save},
    }


def chunks(jobs: list[Job], size: int) -> list[list[Job]]:
    """Cut jobs into chunks of at most `size` that share models, person and settings."""
    cut: list[list[Job]] = []
    for job in jobs:
        if cut and cut[-1][0].settings == job.settings and len(cut[-1]) < size:
            cut[-1].append(job)
        else:
            cut.append([job])
    return cut
