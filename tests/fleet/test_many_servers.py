"""Workers on a broker: what is killed loses nothing and doubles nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from faithful_instantid.devtools.comfy_server import Server
from faithful_instantid.fleet.folder import Plan
from faithful_instantid.fleet.plan import Job

from ..hard.driving import anew, pixels
from .conftest import (
    LONG,
    Redis,
    TwoServers,
    end,
    fleet,
    pictures,
    planned,
    rows,
    start,
    state,
    wait_until,
    worker,
)

PROMPTS = [f"a painter, {number}" for number in range(4 if LONG else 2)]
SEEDS = range(5 if LONG else 4)
PEOPLE = {
    "ann": "photo0.png",
    "bob": "photo1.png",
    "cy": "face2.safetensors",
    **({f"p{number}": f"face{number}.safetensors" for number in range(3, 10)} if LONG else {}),
}
GOOD = len(PEOPLE) * len(PROMPTS) * len(SEEDS)


def table() -> list[dict[str, Any]]:
    """Return the good rows, then three that can never become a picture."""
    good = rows(PEOPLE, PROMPTS, SEEDS)
    wrong = {"person": "wrong sampler", "15.sampler_name": "no such", "seed": 77}
    nobody = {"person": "nobody", "photo": "nobody.png"}
    broken = {"person": "broken", "photo": "", "identity": "broken.safetensors"}
    return [*good, {**good[0], **wrong}, {**good[0], **nobody}, {**good[0], **broken}]


POISON = {"wrong sampler": "invalid", "nobody": "face", "broken": "pack"}


def picture_of(plan: Plan, job: Job) -> bytes:
    return pixels((plan.outputs.pictures / f"{job.id}.png").read_bytes())


def alone(server: Server, job: Job) -> str:
    """Return the digest of a job's picture, really made, with nothing else running."""
    return anew(server, job.prompt)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def begun(plan: Plan, name: str) -> bool:
    """Tell whether a worker has made a picture and is in the middle of another one."""
    worker = state(plan).workers.get(name, {})
    return bool(worker.get("done") and worker["now"])


def run_and_kill(servers: TwoServers, redis: Redis, plan: Plan) -> str:
    """Bring a submitted plan to its end while things are killed; return what two workers said."""
    with ExitStack() as stack:
        first = stack.enter_context(worker(redis, servers.urls[0], "first"))
        second = stack.enter_context(worker(redis, servers.urls[1], "second"))
        wait_until(lambda: begun(plan, "first"))
        first.kill()
        wait_until(lambda: len(plan.outputs.done()) >= 6)
        third = stack.enter_context(worker(redis, servers.urls[0], "third"))
        wait_until(lambda: len(plan.outputs.done()) >= 9 and begun(plan, "second"))
        servers.kill(1)
        shutil.rmtree(servers.bases[1] / "input" / "instantid_identities")  # it comes back empty
        if LONG:
            wait_until(lambda: len(plan.outputs.done()) >= 40)
            redis.stop()
            time.sleep(10)
            redis.start()
        servers.start(1)
        wait_until(lambda: state(plan).waiting + state(plan).running == 0)
        said = end(second) + end(third)
        assert (second.returncode, third.returncode) == (0, 0), said
    return said


@pytest.mark.timeout(3600 if LONG else 400)
def test_killed_workers_servers_and_brokers_lose_nothing_and_double_nothing(
    servers: TwoServers,
    redis: Redis,
    people: Path,
    tmp_path: Path,
    tell: Callable[[str], None],
) -> None:
    plan = planned(tmp_path / "run", table(), people)
    said = fleet("encode", plan.folder, "--server", servers.urls[0])
    assert "2 identities made, 1 photos refused" in said
    assert "No face was found in the picture (200x256)" in said
    fleet("submit", plan.folder, "--broker", redis.url)
    began = time.monotonic()
    said = run_and_kill(servers, redis, plan)
    seconds = time.monotonic() - began
    found = state(plan)
    assert (found.done, found.dead) == (GOOD, len(POISON))
    letters = plan.outputs.letters().values()
    assert {letter["person"]: letter["kind"] for letter in letters} == POISON
    assert pictures(plan) == plan.outputs.done()
    assert len(list(plan.outputs.pictures.iterdir())) == 2 * GOOD
    assert set(found.workers) >= {"first", "second", "third"}
    assert redis.password not in said
    for path in plan.folder.rglob("*"):
        assert path.is_dir() or redis.password.encode() not in path.read_bytes(), path
    what = (
        "worker, a killed server and a restarted broker" if LONG else "worker and a killed server"
    )
    shares = [f"{name} {record['done']}" for name, record in found.workers.items()]
    tell(f"{GOOD} pictures through a killed {what} in {seconds:.0f} s: {', '.join(shares)}")
    hold_the_right_people(plan, servers.running[1])


def hold_the_right_people(plan: Plan, server: Server) -> None:
    """Six pictures have the bits of their prompt alone; people alone tell three of them apart."""
    alike = [
        job
        for job in plan.jobs
        if job.person in ("ann", "bob", "cy")
        and job.prompt["10"]["inputs"]["text"] == PROMPTS[0]
        and job.seed in (0, 1)
        and plan.outputs.is_done(job.id)
    ]
    assert len(alike) == 6
    uploads = server.base / "input" / "instantid_identities" / "fleet"
    for job in alike:
        shutil.copy(plan.identity_path(job.identity), uploads)
    found = {job.id: digest(picture_of(plan, job)) for job in alike}
    assert len(set(found.values())) == 6
    assert {job.id: alone(server, job) for job in alike} == found


def test_a_worker_that_is_stopped_finishes_its_picture_and_gives_the_rest_back(
    servers: TwoServers, redis: Redis, people: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path / "run", rows({"dee": "face3.safetensors"}, ["x"], range(6)), people)
    fleet("submit", plan.folder, "--broker", redis.url)
    with worker(redis, servers.urls[0], "fourth") as process:
        wait_until(lambda: begun(plan, "fourth"))
        (note,) = plan.outputs.notes().values()
        said = end(process)
    assert process.returncode == 0, said
    assert "Finishing what is running" in said
    done = plan.outputs.done()
    assert note["job"] in done and len(done) < 6
    assert list(plan.outputs.parts.iterdir()) == []
    with worker(redis, servers.urls[1], "fifth") as process:
        wait_until(lambda: len(plan.outputs.done()) == 6)
        end(process)
    assert pictures(plan) == {job.id for job in plan.jobs}


def test_a_worker_without_the_run_folder_keeps_pictures_where_it_is_told(
    servers: TwoServers, redis: Redis, people: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path / "run", rows({"eve": "face4.safetensors"}, ["x"], range(2)), people)
    fleet("submit", plan.folder, "--broker", redis.url)
    hidden = plan.folder.rename(tmp_path / "elsewhere")
    with worker(redis, servers.urls[0], "far", "--out", tmp_path / "far") as process:
        far = tmp_path / "far" / plan.run / "pictures"
        wait_until(lambda: len(list(far.glob("*.json"))) == 2)
        end(process)
    hidden.rename(plan.folder)
    assert json.loads(fleet("status", plan.folder, "--json"))["done"] == 0
    seen = json.loads(fleet("status", plan.folder, "--json", "--broker", redis.url))
    assert (seen["done"], seen["waiting"]) == (2, 0)
    assert "0 jobs in 0 chunks" in fleet("submit", plan.folder, "--broker", redis.url)


def test_a_broker_that_refuses_is_told_without_its_password(tmp_path: Path, people: Path) -> None:
    plan = planned(tmp_path / "run", rows({"flo": "face5.safetensors"}, ["x"], range(1)), people)
    said = fleet("submit", plan.folder, "--broker", "redis://:hunter2@127.0.0.1:1/0", code=1)
    assert "The broker does not answer" in said and "rediss://" in said
    assert "hunter2" not in said


def test_a_broker_over_tls_gets_the_password_as_it_is(tmp_path: Path) -> None:
    """What redis's own client makes of the URL is asked of it, without a connection."""
    code = (
        "from dramatiq.brokers.redis import RedisBroker as B;"
        "p = B(url='rediss://ann:s%2Fx@example.org:6380/2').client.connection_pool;"
        "k = p.connection_kwargs; print(p.connection_class.__name__, k['username'], k['password'],"
        "k['port'], k['db'])"
    )
    process = start("--help")
    process.communicate()
    asked = subprocess.run(
        [str(process.args[0]), "-c", code], capture_output=True, text=True, check=True
    )
    assert asked.stdout.split() == ["SSLConnection", "ann", "s/x", "6380", "2"]
