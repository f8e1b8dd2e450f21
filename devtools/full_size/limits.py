"""What the machine has left: refuse before anything is started, and watch while it runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

GIB = 1 << 30
MEMORY_WANTED = 17 * GIB
MEMORY_ALLOWED = 22 * GIB
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


def processor_seconds(pid: int) -> float:
    """Seconds that a process has spent computing, over all cores."""
    times = process(pid).cpu_times()
    return times.user + times.system


def refuse_too_little_memory(available: int) -> None:
    """SystemExit with a sentence where less than MEMORY_WANTED bytes are available."""
    if available < MEMORY_WANTED:
        raise SystemExit(
            f"{available / GIB:.1f} GiB of memory are free, and the full-size rehearsal wants "
            f"{MEMORY_WANTED // GIB} GiB. Close other programs, or run devtools/quickstart.py, "
            "which does the same with tiny models."
        )


def refuse_too_little_disk(free: int, made: int, folder: Path) -> None:
    """SystemExit where `free` and the `made` bytes of earlier runs are under DISK_WANTED."""
    if free + made < DISK_WANTED:
        raise SystemExit(
            f"{free / 1e9:.1f} GB of disk are free under {folder}, and the full-size rehearsal "
            f"wants {(DISK_WANTED - made) / 1e9:.1f} GB for its model files. Make room there, or "
            "move the checkout to a larger disk."
        )


def free_disk(folder: Path) -> int:
    """Bytes free on the disk of `folder`, or of its first parent that exists."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
