"""What the machine has left: refuse before anything is started, and watch while it runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GIB = 1 << 30
MEMORY_WANTED = 17 * GIB
MEMORY_LEFT_OVER = 2 * GIB
DISK_WANTED = 14 * 10**9

CGROUP = Path("/sys/fs/cgroup")


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes of memory that can be had without swapping, within this container's limit."""
    import psutil

    available = psutil.virtual_memory().available
    limit = cgroup / "memory.max"
    if limit.is_file() and limit.read_text().strip() != "max":
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        available = min(available, int(limit.read_text()) - used + int(stat["inactive_file"]))
    return available


def process(pid: int) -> Any:
    """Return a running process, as psutil shows it; psutil comes with ComfyUI."""
    import psutil

    return psutil.Process(pid)


def process_memory(pid: int) -> dict[str, int]:
    """Bytes of a process: `resident` with mapped files, `own` without them where that is told."""
    memory = process(pid).memory_info()
    return {"resident": memory.rss, "own": memory.rss - getattr(memory, "shared", 0)}


def refuse_too_little(memory: int, disk: int, made: int, folder: Path) -> None:
    """SystemExit with a sentence where too few bytes are free for a rehearsal.

    memory: that is available. disk: free under `folder`. made: what earlier runs left there.
    """
    if memory < MEMORY_WANTED:
        raise SystemExit(
            f"{memory / GIB:.1f} GiB of memory are free, and the full-size rehearsal wants "
            f"{MEMORY_WANTED // GIB} GiB. Close other programs, or run devtools/quickstart.py, "
            "which does the same with tiny models."
        )
    if disk + made < DISK_WANTED:
        raise SystemExit(
            f"{disk / 1e9:.1f} GB of disk are free under {folder}, and the full-size rehearsal "
            f"wants {(DISK_WANTED - made) / 1e9:.1f} GB for its model files. Make room there, or "
            "move the checkout to a larger disk."
        )


@contextlib.contextmanager
def watching(
    pid: int, interval: float = 0.5, least: int = MEMORY_LEFT_OVER
) -> Iterator[dict[str, int]]:
    """Watch a server's memory; yields the highest so far, in the form of `process_memory`.

    Where fewer than `least` bytes are left on the machine it is ended, with a SystemExit.
    """
    import psutil

    peaks, stop, why = {"resident": 0, "own": 0}, threading.Event(), ""

    def look() -> None:
        nonlocal why
        with contextlib.suppress(psutil.NoSuchProcess):
            while not why and not stop.wait(interval):
                used, left = process_memory(pid), available_memory()
                peaks.update({name: max(peak, used[name]) for name, peak in peaks.items()})
                if left < least:
                    process(pid).kill()
                    why = (
                        f"Only {left / GIB:.1f} GiB of memory were left on this machine while the "
                        f"server used {used['own'] / GIB:.1f} GiB. It was ended; close other "
                        "programs and try again."
                    )

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()
        if why:
            raise SystemExit(why)
