"""Run the jobs of a plan in pairs, one by a plain loop, one by the fleet; print the seconds.

    FLEET_PYTHON tests/fleet/overhead.py URL RUN FOLDER_OF_THE_PLAIN_LOOP

The plain loop is what anybody writes first: post, wait on the websocket, ask for the history,
fetch the picture, write it. Who begins a pair changes from pair to pair.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import httpx
import websocket

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fleet.comfy import Comfy  # noqa: E402
from fleet.folder import read_plan  # noqa: E402
from fleet.plan import Job  # noqa: E402
from fleet.work import Patience, Worker  # noqa: E402


class PlainLoop:
    """Posts a prompt and waits for its picture."""

    def __init__(self, url: str, folder: Path) -> None:
        self.http = httpx.Client(base_url=url, timeout=300, trust_env=False)
        self.events = websocket.create_connection(
            f"{url.replace('http', 'ws', 1)}/ws?clientId=plain", timeout=300
        )
        self.folder = folder
        folder.mkdir(parents=True)

    def do(self, job: Job) -> None:
        content = {"prompt": job.prompt, "client_id": "plain"}
        prompt_id = self.http.post("/prompt", json=content).json()["prompt_id"]
        while True:
            message = self.events.recv()
            if isinstance(message, str):
                event = json.loads(message)
                data = event["data"]
                ours = event["type"] == "executing" and data.get("prompt_id") == prompt_id
                if ours and data["node"] is None:
                    break
        history = self.http.get(f"/history/{prompt_id}").json()[prompt_id]
        (image,) = history["outputs"][job.picture]["images"]
        (self.folder / f"{job.id}.png").write_bytes(self.http.get("/view", params=image).content)


def main() -> None:
    url, run, folder = sys.argv[1:]
    plan = read_plan(Path(run))
    plan.outputs.prepare()
    worker = Worker(
        *(Comfy(url, "paired"), plan.outputs, "paired"),
        stop=threading.Event(),
        patience=Patience(),
    )
    identities = plan.identities(job.identity for job in plan.jobs)
    plain = PlainLoop(url, Path(folder))
    ways = {"plain": plain.do, "fleet": lambda job: worker.do_chunk([job], identities, {})}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    ways["fleet"](plan.jobs[0])  # connects and uploads, and loads the models
    jobs = iter(plan.jobs[1:])
    for number, pair in enumerate(zip(jobs, jobs, strict=False)):
        order = ("plain", "fleet") if number % 2 else ("fleet", "plain")
        for name, job in zip(order, pair, strict=True):
            began = time.perf_counter()
            ways[name](job)
            seconds[name].append(time.perf_counter() - began)
    json.dump(seconds, sys.stdout)


if __name__ == "__main__":
    main()
