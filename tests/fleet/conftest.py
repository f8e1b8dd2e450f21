"""Two real ComfyUI servers, a Redis with a password, and the fleet in its own environment.

The fleet is run as a user runs it, `python3 -m fleet` from the checkout, by FLEET_PYTHON: an
environment without torch, onnxruntime and insightface. Only the first server has face models.
INSTANTID_TESTS_LONG=1 (devtools/test.py fleet --long) makes the runs ten times as long.
"""

from __future__ import annotations

import csv
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_instantid.devtools.comfy_server import (
    Server,
    default_comfyui,
    free_port,
    serve,
    standin_models,
)
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.fleet.folder import Plan, read_plan
from faithful_instantid.fleet.status import Status, look
from faithful_instantid.instantid_core.identity_file import save_identity
from PIL import Image

from ..host.conftest import adapter, adapter_weights, official  # noqa: F401  (fixtures)
from ..server.conftest import link_files

ROOT = Path(__file__).resolve().parents[2]
LONG = os.environ.get("INSTANTID_TESTS_LONG") == "1"
GRAPH = ROOT / "fleet" / "graphs" / "portrait.json"
SMALL = {"12.width": 64, "12.height": 96, "6.width": 64, "6.height": 96, "15.steps": 1}
LIMIT = 3000.0 if LONG else 300.0  # seconds for anything that is waited for
FIGURES = pytest.StashKey[list[str]]()

Row = dict[str, Any]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash[FIGURES]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Print a line with figures at the end of the run."""
    return pytestconfig.stash[FIGURES].append


def python() -> str:
    """Return the fleet's interpreter."""
    return os.environ["FLEET_PYTHON"]


def start(*arguments: object, interpreter: str = "", **variables: str) -> subprocess.Popen[str]:
    """Start a command of the fleet; its output is kept in one text."""
    return subprocess.Popen(
        [interpreter or python(), "-m", "fleet", *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **variables},
    )


def fleet(*arguments: object, code: int = 0) -> str:
    """Run a command of the fleet to its end and return what it printed."""
    process = start(*arguments)
    said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == code, said
    return said


def wait_until(true: Callable[[], Any], seconds: float = LIMIT) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds:.0f} s"
        time.sleep(0.1)


@dataclass
class TwoServers:
    """Two servers whose processes may be killed and started again under the same address."""

    models: tuple[Path, Path]
    bases: tuple[Path, Path]
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    running: list[Server] = field(default_factory=list)
    stacks: list[ExitStack] = field(default_factory=lambda: [ExitStack(), ExitStack()])
    variables: dict[str, str] = field(default_factory=dict)

    def start(self, number: int) -> Server:
        stack = self.stacks[number]
        one = serve(
            *(self.models[number], self.bases[number]),
            port=self.ports[number],
            environment=self.variables,
        )
        server = stack.enter_context(one)
        self.running[number : number + 1] = [server]
        return server

    def kill(self, number: int) -> None:
        self.running[number].process.kill()
        self.running[number].process.wait()
        self.stacks[number].close()

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.running]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoServers]:
    models = standin_models(default_comfyui(), sys.executable)
    without = tmp_path_factory.mktemp("models") / "without"
    link_files(models, without)
    for path in (without / "insightface").rglob("*.onnx"):
        path.unlink()
    bases = (tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second"))
    # Were anything to import the broker's packages, it would find these.
    bait = tmp_path_factory.mktemp("bait")
    for name in ("dramatiq", "redis"):
        (bait / f"{name}.py").write_text("", encoding="utf-8")
    both = TwoServers((models, without), bases, variables={"PYTHONPATH": str(bait)})
    try:
        both.start(0)
        both.start(1)
        yield both
    finally:
        for stack in both.stacks:
            stack.close()


@dataclass
class Redis:
    """A Redis that keeps its queue on disk. url: with its password."""

    folder: Path
    port: int
    password: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(os.environ["REDIS_SERVER"], "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--dir", str(self.folder), "--appendonly", "yes", "--save", ""),
                *("--requirepass", self.password, "--logfile", str(self.folder / "redis.log")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self.answers, 30)

    def answers(self) -> bool:
        log = self.folder / "redis.log"
        return log.exists() and self._ping()

    def _ping(self) -> bool:
        import socket

        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as line:
                line.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                time.sleep(0.05)
                return b"+PONG" in line.recv(200)
        except OSError:
            return False

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    running = Redis(tmp_path_factory.mktemp("redis"), free_port(), secrets.token_hex(12))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory, adapter: Any) -> Path:  # noqa: F811
    """A folder of photos (photo0.png ...), nobody.png, and identity files (face0.safetensors ...).

    broken.safetensors has the header of an identity, and values that are not numbers.
    """
    from faithful_instantid.instantid_core import host

    folder = tmp_path_factory.mktemp("people")
    for number in range(4):
        face = DrawnFace(128 + 4 * number, 128, 150, 3 * number - 8, number)
        Image.fromarray(draw_faces([face], 256, 256)).save(folder / f"photo{number}.png")
    Image.new("RGB", (200, 256), (90, 90, 90)).save(folder / "nobody.png")
    for number in range(10):
        embedding = torch.randn(512, generator=torch.manual_seed(number))
        identity = host.encode_identity(adapter, embedding)
        save_identity(folder / f"face{number}.safetensors", identity)
    good = (folder / "face0.safetensors").read_bytes()
    length = 8 + int.from_bytes(good[:8], "little")
    (folder / "broken.safetensors").write_bytes(
        good[:length] + b"\xff\xff\xff\x7f" * ((len(good) - length) // 4)
    )
    return folder


def rows(people: dict[str, str], prompts: list[str], seeds: range, **more: Any) -> list[Row]:
    """Return a row for each person (name to file), prompt and seed."""
    return [
        {
            "person": person,
            "photo" if file.endswith(".png") else "identity": file,
            "prompt": prompt,
            "negative": "blurry",
            "seed": seed,
            **SMALL,
            **more,
        }
        for person, file in people.items()
        for prompt in prompts
        for seed in seeds
    ]


def write_csv(path: Path, table: list[Row]) -> Path:
    names = list(dict.fromkeys(name for row in table for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(table)
    return path


def planned(folder: Path, table: list[Row], people: Path, graph: Path = GRAPH) -> Plan:
    """Return the plan of a table that lies beside the people."""
    jobs = write_csv(people / f"{secrets.token_hex(4)}.csv", table)
    fleet("plan", jobs, "--graph", graph, "--out", folder)
    return read_plan(folder)


def state(plan: Plan) -> Status:
    return look(plan)


def pictures(plan: Plan) -> set[str]:
    return {path.stem for path in plan.outputs.pictures.glob("*.png")}


@contextmanager
def worker(redis: Redis, server: str, name: str, *more: object) -> Iterator[subprocess.Popen[str]]:
    """Run a worker that learns the broker from its environment, so that no list of processes
    shows the password."""
    options = ("--server", server, "--name", name, "--heartbeat", 5, *more)
    process = start("work", *options, FLEET_BROKER=redis.url)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def end(process: subprocess.Popen[str]) -> str:
    """Ask a process to end as Ctrl+C does, and return all it has printed."""
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    return said
