"""Start a real ComfyUI server with this pack, queue prompts, follow them, and stop it.

    with serve() as server:
        result = server.run(prompt)

The server runs on the CPU in a base folder of its own: the pack and the development-only nodes are
linked into its custom_nodes, the stand-in models into its models, and nothing else is touched.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".dev"
PACK_NAME = "faithful-instantid"
DEV_NODES = "instantid-dev-nodes"
PHOTO = "example.png"  # a fresh ComfyUI has a picture of that name in its input folder
PORTRAIT = "portrait.png"
START_LIMIT = 600.0  # seconds until the server must answer
RUN_LIMIT = 300.0  # seconds that one prompt may take
# Threads that wait must sleep: busy waiting costs five times the processor time of these small
# models when anything else runs beside them.
QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
MODEL_FOLDERS = ("checkpoints", "controlnet", "instantid", "insightface", "loras", "vae")

TEXT_MESSAGE = 3  # of ComfyUI's BinaryEventTypes

Prompt = dict[str, dict[str, Any]]
Progress = Callable[[str, int, int], None]


class ServerError(RuntimeError):
    """The server did not start, refused a prompt, or failed in one; the text says what it said."""


@dataclass(frozen=True)
class Result:
    """One prompt that went through, all by node id: what came out, the seconds of each node that
    ran, in their order, and the last text that each was given to show."""

    outputs: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    texts: dict[str, str]

    @property
    def ran(self) -> tuple[str, ...]:
        """Ids of the nodes that ran, in order."""
        return tuple(self.seconds)

    def images(self, node: str) -> list[dict[str, str]]:
        """Return the server's names of the pictures that a node saved or previewed."""
        return self.outputs.get(node, {}).get("images", [])

    def text(self, node: str) -> str:
        return "\n".join(self.outputs.get(node, {}).get("text", []))


class PromptFailedError(ServerError):
    """A prompt was refused, or a node (its id) in it raised; message: all that the server said."""

    def __init__(self, message: str, node: str | None = None) -> None:
        super().__init__(message)
        self.message, self.node = message, node


@dataclass
class Server:
    """A running server. url: without a slash at its end. process: None of somebody else's."""

    url: str
    base: Path
    process: subprocess.Popen[bytes] | None
    client: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def log_path(self) -> Path:
        return self.base / "server.log"

    @property
    def log(self) -> str:
        """All that the server has printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def _read(self, path: str, body: bytes | None = None) -> bytes:
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", body, kind)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def get(self, path: str) -> Any:
        """Return the JSON that the server answers to a GET."""
        return json.loads(self._read(path))

    def post(self, path: str, content: Any) -> Any:
        """Return the JSON that the server answers to a POST; PromptFailedError if it refuses."""
        try:
            text = self._read(path, json.dumps(content).encode())
        except urllib.error.HTTPError as error:
            raise PromptFailedError(_refusal(error.read().decode(errors="replace"))) from error
        return json.loads(text) if text else None

    def queue(self, prompt: Prompt) -> str:
        """Queue a prompt in API form; return its id. PromptFailedError when it is not valid."""
        answer = self.post("/prompt", {"prompt": prompt, "client_id": self.client})
        return answer["prompt_id"]

    def run(
        self, prompt: Prompt, progress: Progress | None = None, seconds: float = RUN_LIMIT
    ) -> Result:
        """Queue a prompt, follow it on the websocket to its end, and return what came out.

        progress: called with a node's id, its step and its steps. Errors: PromptFailedError, with
        the message of the node that raised; ServerError after `seconds`.
        """
        import websocket

        address = f"{self.url.replace('http', 'ws', 1)}/ws?clientId={self.client}"
        connection = websocket.create_connection(address, timeout=seconds)
        try:
            prompt_id = self.queue(prompt)
            seconds_of, texts = _follow(connection, prompt_id, progress, time.monotonic() + seconds)
        except websocket.WebSocketTimeoutException:
            raise ServerError("The prompt took too long; the server's log says more.") from None
        finally:
            connection.close()
        history = self.get(f"/history/{prompt_id}")[prompt_id]
        return Result(history["outputs"], seconds_of, texts)

    def fetch(self, image: dict[str, str]) -> bytes:
        """Return the bytes of a picture named by a node's output."""
        names = {name: image[name] for name in ("filename", "subfolder", "type")}
        return self._read(f"/view?{urllib.parse.urlencode(names)}")


@contextlib.contextmanager
def serve(
    models: Path | None = None,
    base: Path | None = None,
    *,
    comfyui: Path | None = None,
    python: str | Path | None = None,
    pack: bool = True,
    dev_nodes: bool = True,
    port: int | None = None,
    cpu: bool = True,
    arguments: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server for as long as the context lasts.

    models: a folder like ComfyUI's models; the stand-ins unless named. base: kept afterwards if it
    is named, else a temporary folder. comfyui: the tree, else that of COMFYUI_PATH, else the
    private one. python: the interpreter, else this one. pack, dev_nodes: whether this pack and the
    development-only nodes are linked in. cpu: whether the server keeps off the GPU. arguments,
    environment: added to the server's.
    """
    comfyui = (comfyui or default_comfyui()).resolve()
    python = python or sys.executable
    models = models or standin_models(comfyui, python)
    port = port or free_port()
    with contextlib.ExitStack() as stack:
        if base is None:
            place = tempfile.TemporaryDirectory("", "instantid-server-", ignore_cleanup_errors=True)
            base = Path(stack.enter_context(place))
        lay_out(base, models, pack=pack, dev_nodes=dev_nodes)
        base = base.resolve()
        command = [
            *(str(python), str(comfyui / "main.py"), *(["--cpu"] if cpu else [])),
            *("--disable-api-nodes", "--base-directory", str(base)),
            *("--database-url", "sqlite:///:memory:"),
            *("--listen", "127.0.0.1", "--port", str(port), *arguments),
        ]
        variables = {**quick_python(), "PYTHONUNBUFFERED": "1", **(environment or {})}
        with open(base / "server.log", "wb") as log:
            process = start_process(command, variables, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(end_process, process)
        server = Server(f"http://127.0.0.1:{port}", base, process)
        _wait_until_it_answers(server)
        yield server


def start_process(
    command: list[str], variables: dict[str, str], **how: Any
) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, which ends with this process even if it is killed."""
    alone: dict[str, Any] = {"start_new_session": True, "preexec_fn": end_with_parent}
    how |= {} if os.name == "nt" else alone
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=variables, **how)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: first politely, then not."""
    for ask in (signal.SIGTERM, signal.SIGKILL if os.name != "nt" else signal.SIGTERM):
        if process.poll() is not None:
            return
        if os.name == "nt":
            process.terminate()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, ask)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


def end_with_parent() -> None:
    """Ask Linux to end this process when the one that started it ends, however that happens."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def quick_python() -> dict[str, str]:
    """Return this process's environment variables, made fit for a quick Python.

    Bytecode is kept: without it every start compiles all of torch's Python again.
    """
    variables = {**QUIET_THREADS, **os.environ}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def default_comfyui() -> Path:
    """Return the ComfyUI tree that COMFYUI_PATH names, else the private one."""
    own = os.environ.get("COMFYUI_PATH")
    return Path(own) if own else STATE / "0.30.0" / "ComfyUI"


def standin_models(comfyui: Path, python: str | Path, kind: str = "random") -> Path:
    """Return the folder of stand-in models, made first if they are missing or out of date.

    kind: `random` weights, or those trained on `drawn` people.
    """
    maker = ROOT / "devtools" / "make_standins.py"
    command = [str(python), str(maker), str(comfyui), str(STATE / "standins"), kind]
    said = subprocess.check_output(command, text=True, env=quick_python())
    return Path(said.splitlines()[-1])


def lay_out(base: Path, models: Path, *, pack: bool = True, dev_nodes: bool = True) -> None:
    """Make a base folder for a server: custom_nodes, models, input, output.

    A portrait.png in `models`, as the stand-ins have one, becomes the picture in `input`.
    """
    for name in ("custom_nodes", "models", "input", "output", "user", "temp"):
        (base / name).mkdir(parents=True, exist_ok=True)
    links = {f"custom_nodes/{PACK_NAME}": ROOT if pack else None}
    links[f"custom_nodes/{DEV_NODES}"] = ROOT / "devtools" / "dev_nodes" if dev_nodes else None
    links |= {f"models/{name}": models / name for name in MODEL_FOLDERS}
    for place, target in links.items():
        if (base / place).is_symlink():
            (base / place).unlink()
        if target and target.is_dir():
            (base / place).symlink_to(target.resolve(), target_is_directory=True)
    if (models / PORTRAIT).is_file():
        shutil.copyfile(models / PORTRAIT, base / "input" / PHOTO)


def has_gpu() -> bool:
    """Whether torch finds a GPU that it can use; where it does not, ComfyUI needs `--cpu`."""
    import torch

    return torch.cuda.is_available()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_it_answers(server: Server) -> None:
    end = time.monotonic() + START_LIMIT
    why = f"did not answer within {START_LIMIT:.0f} s"
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            server.get("/system_stats")
            return
        if (code := server.process.poll()) is not None:
            why = f"ended with code {code} before it answered"
            break
        time.sleep(0.1)
    raise ServerError(f"ComfyUI {why}. Its log ends:\n{server.log[-4000:]}")


def _follow(
    connection: Any, prompt_id: str, progress: Progress | None, end: float
) -> tuple[dict[str, float], dict[str, str]]:
    """Read the websocket until the prompt ends; return the seconds and texts of a Result."""
    began: list[tuple[str, float]] = []
    texts: dict[str, str] = {}
    while True:
        connection.settimeout(max(0.1, end - time.monotonic()))
        message = connection.recv()
        if isinstance(message, bytes):
            texts |= _shown_text(message)
            continue
        event = json.loads(message)
        kind, data = event["type"], event["data"]
        if data.get("prompt_id", prompt_id) != prompt_id:
            continue
        if kind == "execution_error":
            raise PromptFailedError(data["exception_message"].strip(), data["node_id"])
        if kind == "execution_interrupted":
            raise PromptFailedError("The prompt was interrupted.")
        if kind == "progress" and progress is not None:
            progress(str(data.get("node")), data["value"], data["max"])
        if kind == "executing":
            began.append((data["node"], time.perf_counter()))
            if data["node"] is None:
                pairs = itertools.pairwise(began)
                return {node: end - start for (node, start), (_, end) in pairs}, texts


def _shown_text(message: bytes) -> dict[str, str]:
    """Return the text of a binary message by its node's id; nothing for a preview picture.

    The layout is that of ComfyUI's `PromptServer.send_progress_text`.
    """
    kind, length = struct.unpack_from(">II", message)
    node, text = message[8 : 8 + length], message[8 + length :]
    return {node.decode(): text.decode()} if kind == TEXT_MESSAGE else {}


def _refusal(text: str) -> str:
    """Turn the server's refusal of a prompt into lines: what, then each input's complaint."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        answer = json.loads(text)
        lines = [f"{answer['error']['message']} {answer['error']['details']}".strip()]
        for node, problem in answer.get("node_errors", {}).items():
            what = f"{problem['class_type']} ({node})"
            errors = problem["errors"]
            lines += [f"{what}: {error['message']}: {error['details']}" for error in errors]
        return "\n".join(lines)
    return text
