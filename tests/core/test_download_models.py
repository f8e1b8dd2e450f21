"""The model downloader against a real HTTP server in this process."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faithful_instantid.devtools import download_models
from faithful_instantid.devtools.download_models import DownloadError, ModelFile

CONTENT = bytes(range(256)) * 4096  # 1 MiB whose every offset can be told from its neighbours
WRONG = b"x" + CONTENT[1:]


@dataclass
class Server:
    """What the server does, and the Range header (or none) of each request it got."""

    content: bytes = CONTENT
    knows_ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)
    status: int = 200
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        if handler.path == "/moved":
            handler.send_response(302)
            handler.send_header("Location", "/file")
            handler.end_headers()
            return
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        begin = begin if self.knows_ranges else 0
        handler.send_response(206 if begin else self.status)
        body = self.content[begin:]
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.breaks_after.pop(0)] if self.breaks_after else body)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the name that http.server asks for
            server.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,))
    thread.start()
    server.url = f"http://127.0.0.1:{http_server.server_port}"
    try:
        yield server
    finally:
        http_server.shutdown()
        thread.join()
        http_server.server_close()


def file_on(server: Server, path: str = "/file") -> ModelFile:
    return ModelFile(
        what="InstantID adapter",
        url=server.url + path,
        path="instantid/ip-adapter.bin",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="Apache-2.0",
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is kept of a broken download be counted by the kB, and be taken up at once."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)


def part_of(models: Path) -> Path:
    return models / "instantid" / "ip-adapter.bin.part"


@pytest.mark.parametrize("path", ["/file", "/moved"])
def test_a_fresh_download_lands_in_its_folder_whole(tmp_path: Path, path: str) -> None:
    with serving(Server()) as server:
        target = download_models.download(file_on(server, path), tmp_path)
    assert target == tmp_path / "instantid" / "ip-adapter.bin"
    assert target.read_bytes() == CONTENT
    assert not part_of(tmp_path).exists()


def test_a_broken_connection_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    with serving(Server(breaks_after=[1000, 5000])) as server:
        target = download_models.download(file_on(server), tmp_path)
    assert server.ranges == [None, "bytes=1000-", "bytes=6000-"]
    assert target.read_bytes() == CONTENT


def test_a_later_run_goes_on_with_what_an_earlier_one_kept(tmp_path: Path) -> None:
    with serving(Server(breaks_after=[7000, *[0] * 20])) as server:
        with pytest.raises(DownloadError) as caught:
            download_models.download(file_on(server), tmp_path)
        assert f"are kept in {part_of(tmp_path)}" in str(caught.value)
        assert "run this again to go on from there" in str(caught.value)
        assert part_of(tmp_path).stat().st_size == 7000
        server.ranges.clear()
        server.breaks_after.clear()
        target = download_models.download(file_on(server), tmp_path)
    assert server.ranges == ["bytes=7000-"]
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_file_anew(tmp_path: Path) -> None:
    with serving(Server(knows_ranges=False, breaks_after=[1000])) as server:
        target = download_models.download(file_on(server), tmp_path)
    assert server.ranges == [None, "bytes=1000-"]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("content", [WRONG, CONTENT + b"more"], ids=["wrong", "too long"])
def test_a_wrong_file_gets_no_final_name_and_is_not_kept(tmp_path: Path, content: bytes) -> None:
    with serving(Server(content=content)) as server, pytest.raises(DownloadError) as caught:
        download_models.download(file_on(server), tmp_path)
    message = str(caught.value)
    assert f"wanted were {len(CONTENT)} bytes" in message
    assert hashlib.sha256(CONTENT).hexdigest() in message
    assert list((tmp_path / "instantid").iterdir()) == []


def test_a_refusal_says_what_the_server_answered_and_where_to_put_the_file(tmp_path: Path) -> None:
    with serving(Server(status=404)) as server, pytest.raises(DownloadError) as caught:
        download_models.download(file_on(server), tmp_path)
    assert "404" in str(caught.value)
    assert f"save the file as {tmp_path / 'instantid' / 'ip-adapter.bin'}" in str(caught.value)
    assert len(server.ranges) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_is_named_with_what_to_do(tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).symlink_to("/dev/full")
    with serving(Server()) as server, pytest.raises(DownloadError) as caught:
        download_models.download(file_on(server), tmp_path)
    assert f"The disk is full: {tmp_path / 'instantid'} took" in str(caught.value)
    assert "Make room and run this again" in str(caught.value)
    assert len(server.ranges) == 1


def test_too_little_room_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    file = file_on(Server())
    download_models.check_space([file], tmp_path, len(CONTENT))
    with pytest.raises(DownloadError) as caught:
        download_models.check_space([file, file], tmp_path, len(CONTENT))
    assert "has 1.0 MB free, and 2.1 MB are needed" in str(caught.value)
    assert "Nothing was downloaded" in str(caught.value)


def test_what_a_broken_download_kept_needs_no_room_again(tmp_path: Path) -> None:
    def check() -> None:
        free = len(CONTENT) - 1000
        download_models.check_space([file_on(Server())], tmp_path, free)

    with pytest.raises(DownloadError):
        check()
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(CONTENT[:1000])
    check()


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "later\n"])
def test_nothing_is_fetched_without_a_yes(
    tmp_path: Path, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    with serving(Server()) as server:
        assert not download_models.fetch_missing(tmp_path, yes=False, files=(file_on(server),))
    shown = capsys.readouterr().out
    assert "InstantID adapter: 1.0 MB, licence: Apache-2.0" in shown
    assert server.url in shown
    assert "Nothing was downloaded." in shown
    assert server.ranges == []
    assert not (tmp_path / "models" / "instantid").exists()


def test_files_in_place_are_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with serving(Server()) as server:
        for _ in range(2):
            assert download_models.fetch_missing(tmp_path, yes=True, files=(file_on(server),))
    assert server.ranges == [None]


def test_a_file_of_ones_own_is_never_overwritten(tmp_path: Path) -> None:
    own = tmp_path / "models" / "instantid" / "ip-adapter.bin"
    own.parent.mkdir(parents=True)
    own.write_bytes(WRONG)
    with serving(Server()) as server, pytest.raises(DownloadError) as caught:
        download_models.fetch_missing(tmp_path, yes=True, files=(file_on(server),))
    assert f"{own} is there, but it is not the published file" in str(caught.value)
    assert own.read_bytes() == WRONG
    assert server.ranges == []


def test_a_folder_that_is_no_comfyui_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="has neither main.py nor a models folder"):
        download_models.fetch_missing(tmp_path, yes=True)


def test_the_four_published_files_go_where_comfyui_looks() -> None:
    assert [file.path for file in download_models.FILES] == [
        "instantid/ip-adapter.bin",
        "controlnet/instantid-identitynet.safetensors",
        "insightface/models/antelopev2/scrfd_10g_bnkps.onnx",
        "insightface/models/antelopev2/glintr100.onnx",
    ]
    assert all(len(file.sha256) == 64 and file.size > 1e7 for file in download_models.FILES)
