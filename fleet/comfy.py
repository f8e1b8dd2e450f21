"""One ComfyUI server over HTTP and its websocket."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import websocket

from .errors import FailedError, ServerAwayError, WrongServerError
from .graph import Graph

ANSWER_LIMIT = 60.0  # seconds until a server must answer a request
LISTEN = 5.0  # seconds for which the websocket may be silent before the job is asked for
LISTEN_TO_OTHERS = 0.5  # the same for a prompt whose events go to somebody else
ENDED = ("completed", "failed", "cancelled")
ASK_AGAIN = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class State:
    """What a server says of a prompt.

    status: pending, in_progress, completed, failed or cancelled. outputs: by node id. error: as
    ComfyUI tells it. seconds: the server spent on it, None if it does not say.
    """

    status: str
    outputs: dict[str, dict[str, Any]]
    error: dict[str, Any]
    seconds: float | None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def public_url(url: str) -> str:
    """Return a URL without user, password and query, as it may be shown and written."""
    parts = httpx.URL(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.host}{port}{parts.path}".rstrip("/")


class Comfy:
    """A server. client: the name its websocket events go to; nobody else may use it."""

    def __init__(self, url: str, client: str) -> None:
        parts = httpx.URL(url)
        if parts.scheme not in ("http", "https") or not parts.host:
            raise WrongServerError(
                f"{public_url(url)} is not the URL of a ComfyUI server, such as "
                "http://127.0.0.1:8188."
            )
        self.url = public_url(url)
        self.client = client
        self._user = (parts.username, parts.password) if parts.username else None
        limits = httpx.Timeout(ANSWER_LIMIT, connect=10)
        # Straight to the server: a proxy for the world outside knows nothing of it.
        self._http = httpx.Client(
            base_url=self.url, auth=self._user, timeout=limits, trust_env=False
        )
        self._socket: websocket.WebSocket | None = None

    def close(self) -> None:
        self.disconnect()
        self._http.close()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Return an answer of any status but the server's own errors: those are ServerAwayError."""
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise ServerAwayError(f"{self.url} does not answer: {error}") from error
        if answer.status_code in ASK_AGAIN:
            raise ServerAwayError(f"{self.url} answers with HTTP {answer.status_code}")
        return answer

    def good(self, answer: httpx.Response) -> httpx.Response:
        """Return an answer of status 200; WrongServerError for any other."""
        if answer.status_code != 200:
            raise WrongServerError(
                f"{self.url} answers {answer.request.url.path} with HTTP {answer.status_code}. It "
                "needs to be a ComfyUI of 0.16.3 or newer that lets this worker in."
            )
        return answer

    def told(self, answer: httpx.Response) -> Any:
        """Return the JSON of an answer of status 200; WrongServerError for anything else."""
        try:
            return self.good(answer).json()
        except ValueError as error:
            raise WrongServerError(
                f"{self.url} answers {answer.request.url.path} with something that is not JSON: it "
                "is no ComfyUI, or a page in front of one that wants a person."
            ) from error

    def versions(self) -> dict[str, str]:
        system = self.told(self.request("GET", "/system_stats"))["system"]
        return {
            "comfyui": str(system.get("comfyui_version")),
            "torch": str(system.get("pytorch_version")),
        }

    def upload(self, subfolder: str, name: str, content: bytes) -> None:
        """Put a file under exactly this name into a folder of the server's input folder."""
        place = {"type": "input", "subfolder": subfolder}
        for overwrite in ("false", "true"):  # what is there already, and the same, is left alone
            answer = self.request(
                "POST",
                "/upload/image",
                data={**place, "overwrite": overwrite},
                files={"image": (name, content, "application/octet-stream")},
            )
            if self.told(answer)["name"] == name:
                return
        raise WrongServerError(f"{self.url} does not keep the name of an uploaded file ({name}).")

    def ask(self, prompt_id: str) -> State | None:
        """Return what the server knows of a prompt, None if nothing."""
        answer = self.request("GET", f"/api/jobs/{prompt_id}")
        if answer.status_code == 404 and "not found" in answer.text.lower():
            return None
        job = self.told(answer)
        start, end = job.get("execution_start_time"), job.get("execution_end_time")
        return State(
            job["status"],
            job.get("outputs") or {},
            job.get("execution_error") or {},
            (end - start) / 1000 if start and end else None,
        )

    def post(self, prompt: Graph, prompt_id: str) -> None:
        """Queue a prompt; FailedError of kind invalid when the server refuses it."""
        content = {"prompt": prompt, "prompt_id": prompt_id, "client_id": self.client}
        answer = self.request("POST", "/prompt", json=content)
        if answer.status_code == 400:
            raise FailedError("invalid", refusal(answer.text))
        self.good(answer)

    def follow(self, prompt_id: str, *, ours: bool, still: Callable[[], None]) -> State | None:
        """Wait for the end of a prompt; None if the server forgets it.

        ours: whether its events come to this websocket. still: called while nothing happens.
        """
        wait = LISTEN if ours else LISTEN_TO_OTHERS
        while True:
            self._listen(prompt_id, wait)
            state = self.ask(prompt_id)
            if state is None or state.ended:
                return state
            still()

    def connect(self) -> None:
        """Open the websocket, unless it is open."""
        if self._socket is not None:
            return
        header = []
        if self._user is not None:
            token = base64.b64encode(":".join(self._user).encode()).decode()
            header = [f"Authorization: Basic {token}"]
        try:
            self._socket = websocket.create_connection(
                f"{self.url.replace('http', 'ws', 1)}/ws?clientId={self.client}",
                timeout=ANSWER_LIMIT,
                header=header,
                http_no_proxy=["*"],
            )
        except (OSError, websocket.WebSocketException) as error:
            raise ServerAwayError(
                f"{self.url} opens no websocket: {type(error).__name__}"
            ) from error

    def disconnect(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError, websocket.WebSocketException):
                self._socket.close(timeout=1)
            self._socket = None

    def _listen(self, prompt_id: str, seconds: float) -> None:
        """Read events until the prompt ends, or for this long."""
        assert self._socket is not None
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                self._socket.settimeout(left)
                message = self._socket.recv()
                if isinstance(message, str) and _tells_the_end(message, prompt_id):
                    return
                if message == "":
                    raise websocket.WebSocketConnectionClosedException("closed")
        except websocket.WebSocketTimeoutException:
            return
        except (OSError, websocket.WebSocketException) as error:
            self.disconnect()
            raise ServerAwayError(f"the websocket of {self.url} was lost") from error

    def fetch(self, file: dict[str, str]) -> bytes:
        """Return the bytes of a file that a node has saved; FailedError if it is gone."""
        where = {name: file.get(name, "") for name in ("filename", "subfolder", "type")}
        answer = self.request("GET", "/view", params=where)
        if answer.status_code == 404:
            raise FailedError("gone", f"{where['filename']} is not on the server any more")
        return self.good(answer).content

    def free(self) -> None:
        """Ask the server to unload its models before the next prompt."""
        self.request("POST", "/free", json={"unload_models": True, "free_memory": True})

    def cancel(self, prompt_id: str) -> None:
        """Take a prompt off the server, waiting or running."""
        self.request("POST", "/queue", json={"delete": [prompt_id]})
        self.request("POST", "/interrupt", json={"prompt_id": prompt_id})


def _tells_the_end(message: str, prompt_id: str) -> bool:
    if prompt_id not in message or '"executing"' not in message:
        return False
    event = json.loads(message)
    return event["type"] == "executing" and event["data"].get("node") is None


def refusal(text: str) -> str:
    """Turn a server's refusal of a prompt into one line: what, and each input's complaint."""
    try:
        answer = json.loads(text)
        lines = [f"{answer['error']['message']} {answer['error']['details']}".strip()]
        for node, problem in (answer.get("node_errors") or {}).items():
            for error in problem["errors"]:
                what = f"{problem['class_type']} ({node}): {error['message']}"
                lines.append(f"{what}: {error['details']}")
    except (ValueError, KeyError, TypeError):
        return text
    return "; ".join(lines)
