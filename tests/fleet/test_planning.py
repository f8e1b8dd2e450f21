"""Planning, on Python alone: what a table becomes, and what it is told when it is wrong."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faithful_instantid.devtools.example_files import api_form, workflow
from faithful_instantid.fleet.errors import FleetError
from faithful_instantid.fleet.folder import Outputs, read_plan
from faithful_instantid.fleet.graph import find_places, load_graph
from faithful_instantid.fleet.plan import chunks, in_order, make_plan
from faithful_instantid.fleet.retries import RULES, failure_of
from faithful_instantid.fleet.status import look

from .conftest import GRAPH, ROOT, Row, rows, write_csv

TABLE = rows({"ann": "face0.safetensors", "bob": "photo0.png"}, ["x", "y"], range(3))


def test_a_table_becomes_one_plain_prompt_per_picture(people: Path, tmp_path: Path) -> None:
    made = make_plan(write_csv(people / "a.csv", TABLE), GRAPH, tmp_path / "run")
    assert dataclasses.astuple(made) == (12, 0, 2, 1)
    lines = (tmp_path / "run" / "jobs.jsonl").read_text(encoding="utf-8").splitlines()
    jobs = [json.loads(line) for line in lines]
    assert len({job["id"] for job in jobs}) == 12
    for job in jobs:
        prompt = job["prompt"]
        assert all(set(node) == {"class_type", "inputs"} for node in prompt.values())
        assert prompt["15"]["inputs"]["seed"] == job["seed"]
        assert prompt["15"]["inputs"]["steps"] == 1
        assert prompt["10"]["inputs"]["text"] in ("x", "y")
        assert prompt["11"]["inputs"]["text"] == "blurry"
        assert prompt["5"]["inputs"]["file"] == f"fleet/{job['identity']}.safetensors"


def test_json_lines_and_another_day_give_the_same_ids(people: Path, tmp_path: Path) -> None:
    make_plan(write_csv(people / "a.csv", TABLE), GRAPH, tmp_path / "one")
    again = people / "a.jsonl"
    backwards = [*TABLE[::-1], TABLE[0]]
    again.write_text("\n".join(map(json.dumps, backwards)), encoding="utf-8")
    made = make_plan(again, GRAPH, tmp_path / "two")
    assert (made.jobs, made.repeated) == (12, 1)
    one, two = ([job.id for job in read_plan(tmp_path / name).jobs] for name in ("one", "two"))
    assert one == two


def test_another_photo_under_the_same_name_is_another_picture(people: Path, tmp_path: Path) -> None:
    ids = []
    for number in (0, 1):
        (people / "same.png").write_bytes((people / f"photo{number}.png").read_bytes())
        table = write_csv(people / "a.csv", rows({"ann": "same.png"}, ["x"], range(1)))
        make_plan(table, GRAPH, tmp_path / str(number))
        ids += [job.id for job in read_plan(tmp_path / str(number)).jobs]
    assert ids[0] != ids[1]


def changed(**columns: object) -> Row:
    return {**TABLE[0], **columns}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (changed(identity="gone.safetensors"), "row 1: .*gone.safetensors cannot be read"),
        (changed(identity="photo0.png"), "photo0.png is not a file of Save Identity"),
        (changed(photo="photo0.png"), "row 1: give one of `photo` and `identity`"),
        (changed(seed="many"), "seed is 'many'; wanted a whole number"),
        (changed(colour="red"), "unknown column 'colour'; there are person, photo"),
        (changed(**{"99.steps": 1}), "0 nodes of the graph are called '99'"),
        (changed(**{"15.stepz": 1}), "node 15 has no value 'stepz' to set; it has seed, steps"),
        (changed(**{"15.model": 1}), "node 15 has no value 'model' to set"),
        (changed(**{"15.steps": "x"}), "15.steps is 'x'; wanted a int"),
        (changed(**{"13.face_region": "no"}), "13.face_region is 'no'; wanted a bool"),
    ],
)
def test_a_row_that_cannot_be_planned_is_named_and_nothing_is_made(
    people: Path, tmp_path: Path, row: Row, told: str
) -> None:
    with pytest.raises(FleetError, match=told):
        make_plan(write_csv(people / "bad.csv", [row]), GRAPH, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_graph_that_does_not_fit_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"no graph in API form.*Export \(API\)"):
        load_graph(workflow("instantid_basic"))
    with pytest.raises(FleetError, match="has 0 nodes Load Identity .* in place of Encode Face"):
        find_places(load_graph(api_form("instantid_basic")))
    graph = load_graph(GRAPH)
    places = find_places(graph)
    assert (places.prompt, places.negative, places.picture) == ("10", "11", "17")
    assert places.seeds == (("15", "seed"),)
    graph["18"] = dict(graph["17"])
    with pytest.raises(FleetError, match="2 nodes SaveImage .17, 18.* --picture"):
        find_places(graph)
    assert find_places(graph, "18").picture == "18"


def test_chunks_share_person_and_settings(people: Path, tmp_path: Path) -> None:
    make_plan(write_csv(people / "a.csv", TABLE), GRAPH, tmp_path / "run")
    jobs = read_plan(tmp_path / "run").jobs
    assert in_order(jobs) == jobs
    cut = chunks(jobs, 4)
    assert [len(chunk) for chunk in cut] == [4, 2, 4, 2]
    assert all(len({job.identity for job in chunk}) == 1 for chunk in cut)
    assert [job for chunk in cut for job in chunk] == jobs


def on_python_alone(*arguments: object) -> str:
    """Run a command of the fleet where no installed package can be found; return its output."""
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); "
        "runpy.run_module('fleet', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_planning_status_and_retry_run_on_python_alone(people: Path, tmp_path: Path) -> None:
    table, run = write_csv(people / "a.csv", TABLE), tmp_path / "run"
    assert "12 pictures of 2 people" in on_python_alone(
        *("plan", table, "--graph", GRAPH, "--out", run)
    )
    assert "12 waiting" in on_python_alone("status", run)
    assert "0 jobs are no longer dead" in on_python_alone("retry", run)


def test_a_picture_without_its_sidecar_is_not_done(people: Path, tmp_path: Path) -> None:
    make_plan(write_csv(people / "a.csv", TABLE), GRAPH, tmp_path / "run")
    plan = read_plan(tmp_path / "run")
    plan.outputs.prepare()
    first, second, third = (job.id for job in plan.jobs[:3])
    plan.outputs.keep(first, [(".png", b"one")], {"worker": "w", "server": "s", "time": 1.0})
    (plan.outputs.pictures / f"{second}.png").write_bytes(b"half")
    plan.outputs.bury(third, {"reason": "no", "attempt": 2})
    plan.outputs.bury(first, {"reason": "too late", "attempt": 0})
    assert [plan.outputs.is_settled(job) for job in (first, second, third)] == [True, False, True]
    found = look(plan)
    assert (found.done, found.dead, found.waiting) == (1, 1, 10)
    assert found.reasons == {"no": 1}


def test_the_sidecar_comes_last(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    outputs.prepare()
    (outputs.pictures / "x-2.png").mkdir()  # the second picture cannot have its name
    with pytest.raises(FleetError, match="x-2.png cannot be written"):
        outputs.keep("x", [(".png", b"one"), (".png", b"two")], {})
    assert not outputs.is_done("x")
    assert list(outputs.parts.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "gone")
    with pytest.raises(FleetError, match="x.png cannot be written: No such file"):
        outputs.keep("x", [(".png", b"")], {})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("torch.OutOfMemoryError", "memory"),
        ("custom_nodes.faithful-instantid.instantid_core.errors.WrongFileError", "pack"),
        ("RuntimeError", "node"),
    ],
)
def test_errors_of_nodes_are_told_apart(name: str, kind: str) -> None:
    error = {"exception_type": name, "exception_message": "why\n", "node_id": "5", "node_type": "N"}
    failed = failure_of(error)
    assert failed.kind == kind
    assert failed.message.startswith("N (5): why")


def test_every_error_of_the_pack_is_known_to_the_fleet() -> None:
    from faithful_instantid.fleet.retries import failure_of
    from faithful_instantid.instantid_core import errors

    own = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.InstantIDError)
    }
    kinds = {name: failure_of({"exception_type": name}).kind for name in own}
    assert kinds.pop("OutOfMemoryError") == "memory"
    assert len(kinds) == 7
    assert set(kinds.values()) == {"pack"}


def test_the_documentation_has_the_table_of_the_code() -> None:
    text = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", text, re.MULTILINE)
    wanted = [
        (rule.kind, rule.what, "always" if rule.retries is None else str(rule.retries), rule.then)
        for rule in RULES.values()
    ]
    assert told == wanted
