"""`fleet run`, without a broker: killed at any moment it goes on, and it costs next to nothing."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faithful_instantid.devtools.comfy_server import Server
from faithful_instantid.fleet.folder import Plan, retry
from faithful_instantid.fleet.graph import load_graph

from ..server.conftest import loaded_modules
from .conftest import (
    GRAPH,
    LONG,
    ROOT,
    TwoServers,
    end,
    fleet,
    pictures,
    planned,
    python,
    rows,
    start,
    state,
    wait_until,
)
from .wire import Wire

KILLS = 10 if LONG else 2
PEOPLE = 10 if LONG else 2
SEEDS = range(20 if LONG else 10)
PAIRS = 30 if LONG else 8
ROUNDS = 3
OVERHEAD = 0.05


def posted(servers: TwoServers) -> int:
    """Return how many prompts the servers have taken since they were started.

    Their history would not tell: a prompt that is posted again stands there once.
    """
    return sum(server.log.count("got prompt") for server in servers.running)


def waiting_or_running(server: Server) -> int:
    return server.get("/prompt")["exec_info"]["queue_remaining"]


@pytest.mark.timeout(3600 if LONG else 600)
def test_a_run_killed_at_random_goes_on_to_the_same_files(
    servers: TwoServers, people: Path, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    who = {f"p{number}": f"face{number}.safetensors" for number in range(PEOPLE)}
    plan = planned(tmp_path / "run", rows(who, ["a sailor"], SEEDS), people)
    before_all = posted(servers)
    dice = random.Random(11)
    killed_at = []
    for _ in range(KILLS):
        process = start("run", plan.folder, "--server", *servers.urls)
        before = len(plan.outputs.done())
        wait_until(lambda before=before: len(plan.outputs.done()) > before)
        time.sleep(dice.uniform(0, 12 if LONG else 0.5))
        process.kill()
        process.communicate()
        killed_at.append(len(plan.outputs.done()))
    assert killed_at[-1] < len(plan.jobs), "it was over before it was killed"
    said = fleet("run", plan.folder, "--server", *servers.urls)
    assert f"{len(plan.jobs)} of {len(plan.jobs)} done" in said
    assert pictures(plan) == plan.outputs.done() == {job.id for job in plan.jobs}
    assert len(list(plan.outputs.pictures.iterdir())) == 2 * len(plan.jobs)
    tell(f"fleet run killed with {killed_at} of {len(plan.jobs)} pictures done, then finished")
    tell(f"prompts posted for it: {posted(servers) - before_all}")


def test_a_run_that_comes_back_asks_before_it_posts(
    servers: TwoServers, people: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path / "run", rows({"may": "face0.safetensors"}, ["x"], range(3)), people)
    before = posted(servers)
    process = start("run", plan.folder, "--server", servers.urls[1])
    wait_until(lambda: len(plan.outputs.done()) == 1 and waiting_or_running(servers.running[1]))
    process.kill()
    process.communicate()
    fleet("run", plan.folder, "--server", servers.urls[1])
    assert pictures(plan) == {job.id for job in plan.jobs}
    assert posted(servers) == before + 3


def test_ctrl_c_ends_a_run_after_the_running_pictures(
    servers: TwoServers, people: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path / "run", rows({"gus": "face6.safetensors"}, ["x"], range(6)), people)
    process = start("run", plan.folder, "--server", servers.urls[0])
    wait_until(lambda: len(plan.outputs.done()) >= 1 and plan.outputs.notes())
    (note,) = plan.outputs.notes().values()
    said = end(process)
    assert process.returncode == 1 and "Run the same command again to go on" in said
    done = plan.outputs.done()
    assert note["job"] in done and len(done) < 6


def faulty_graph(folder: Path) -> Path:
    """Return the portrait graph with an IdentityNet that runs out of memory when it is new."""
    graph = load_graph(GRAPH)
    fault = {"control_net": ["3", 0]}
    graph["fault"] = {"class_type": "IIDDev_FaultyControlNet", "inputs": fault}
    graph["13"]["inputs"]["control_net"] = ["fault", 0]
    path = folder / "faulty.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    return path


def test_out_of_memory_frees_the_server_and_is_tried_three_times_more(
    servers: TwoServers, people: Path, tmp_path: Path
) -> None:
    """The server is told to forget everything, so that this fault is new at every attempt."""
    table = rows({"hal": "face7.safetensors"}, ["x"], range(1))
    plan = planned(tmp_path / "run", table, people, faulty_graph(tmp_path))
    said = fleet("run", plan.folder, "--server", servers.urls[0])
    assert said.count("told to unload its models") == 3
    (letter,) = plan.outputs.letters().values()
    assert (letter["kind"], letter["attempt"]) == ("memory", 3)
    assert "KSampler (15): " in letter["reason"]


def test_retry_gives_the_dead_another_attempt(
    servers: TwoServers, people: Path, tmp_path: Path
) -> None:
    wrong = {"15.sampler_name": "no such"}
    plan = planned(
        tmp_path / "run", rows({"ida": "face8.safetensors"}, ["x"], [1], **wrong), people
    )
    for attempt in (0, 1):
        fleet("run", plan.folder, "--server", servers.urls[0])
        (letter,) = plan.outputs.letters().values()
        assert (letter["kind"], letter["attempt"]) == ("invalid", attempt)
        assert "sampler_name: 'no such' not in" in letter["reason"]
        assert "1 jobs are no longer dead" in fleet("retry", plan.folder)
        assert state(plan).waiting == 1
    assert retry(plan) == []


def test_a_failing_proxy_and_lost_websockets_cost_no_picture_and_no_attempt(
    servers: TwoServers, people: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path / "run", rows({"jo": "face9.safetensors"}, ["x"], range(5)), people)
    before = posted(servers)
    with Wire(servers.ports[1], refuse=2) as wire:
        process = start("run", plan.folder, "--server", wire.url)
        wait_until(lambda: len(plan.outputs.done()) >= 2 and plan.outputs.notes())
        wire.cut()
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert wire.refused == 2
    records = [json.loads(path.read_text()) for path in plan.outputs.pictures.glob("*.json")]
    assert [record["attempt"] for record in records] == [0] * 5
    assert posted(servers) == before + 5


def test_a_server_that_lets_nobody_in_ends_the_run_with_a_word(
    servers: TwoServers, people: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path / "run", rows({"kim": "face1.safetensors"}, ["x"], range(1)), people)
    with Wire(servers.ports[1], refuse=99, answer="401 Unauthorized") as wire:
        url = wire.url.replace("http://", "http://ann:hunter2@")
        said = fleet("run", plan.folder, "--server", url, code=1)
    assert f"{wire.url} answers" in said and "with HTTP 401" in said
    assert "hunter2" not in said
    assert state(plan).waiting == 1


def overhead(servers: TwoServers, plan: Plan, out: Path) -> dict[str, list[float]]:
    """Return the seconds of each job by a plain loop and by the fleet, one after the other."""
    script = ROOT / "tests" / "fleet" / "overhead.py"
    command = [python(), str(script), servers.urls[0], str(plan.folder), str(out)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.timeout(3600 if LONG else 600)
def test_a_job_costs_at_most_5_percent_more_than_in_a_plain_loop(
    servers: TwoServers, people: Path, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    shares: list[float] = []
    for number in range(ROUNDS):
        seeds = range(1000 * number, 1000 * number + 2 * PAIRS)
        table = rows({"lea": "face2.safetensors"}, ["x"], seeds, **{"15.steps": 2})
        plan = planned(tmp_path / f"run{number}", table, people)
        found = overhead(servers, plan, tmp_path / f"plain{number}")
        pairs = list(zip(found["plain"], found["fleet"], strict=True))
        shares.append(statistics.median(ours - plain for plain, ours in pairs))
        shares[-1] /= statistics.median(found["plain"])
        tell(
            f"overhead of the fleet, {PAIRS} pairs: {100 * shares[-1]:+.1f} % of "
            f"{1000 * statistics.median(found['plain']):.0f} ms a job"
        )
        if shares[-1] <= OVERHEAD and not LONG:
            break
    assert min(shares) <= OVERHEAD, shares


def test_the_pack_loads_neither_dramatiq_nor_redis(servers: TwoServers) -> None:
    assert loaded_modules(servers.running[0], "dramatiq redis fleet") == ()


def test_the_workers_environment_has_no_model_libraries() -> None:
    code = (
        "import importlib.util as u; print([n for n in ('torch', 'onnxruntime', 'insightface', "
        "'numpy') if u.find_spec(n)])"
    )
    command: list[Any] = [python(), "-c", code]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "[]"
