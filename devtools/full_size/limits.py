"""What the machine has left: refuse before anything is started, and watch while it runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

GIB = 1 << 30
MEMORY_WANTED = 17 * GIB
MEMORY_ALLOWED = 22 * GIB
MEMORY_LEFT_OVER = 2 * GIB
DISK_WANTED = 14 * 10**9

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def available_memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int:
    """Bytes of memory that can be had without swapping, within this container's limit.

    SystemExit with a sentence where the system does not say (it is read from Linux's /proc).
    """
    if not meminfo.is_file():
        raise SystemExit(
            f"{meminfo} is not there: the full-size rehearsal reads memory figures from it and "
            "runs on Linux only. devtools/quickstart.py runs everywhere, with tiny models."
        )
    available = _field(meminfo, "MemAvailable:")
    limit = cgroup / "memory.max"
    if limit.is_file() and limit.read_text().strip() != "max":
        used = int((cgroup / "memory.current").read_text())
        reclaimable = _plain_field(cgroup / "memory.stat", "inactive_file")
        available = min(available, int(limit.read_text()) - used + reclaimable)
    return available


def process_memory(pid: int | str) -> dict[str, int]:
    """Bytes of a process: `peak` and `resident` with mapped files, `own` without them."""
    status = Path(f"/proc/{pid}/status")
    return {
        "peak": _field(status, "VmHWM:"),
        "resident": _field(status, "VmRSS:"),
        "own": _field(status, "RssAnon:"),
    }


def processor_seconds(pid: int) -> float:
    """Seconds that a process has spent computing, over all cores."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _field(path: Path, name: str) -> int:
    """Read `name  123 kB` from a file of /proc as bytes."""
    return 1024 * _plain_field(path, name)


def _plain_field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise SystemExit(f"{path} has no line {name!r}; the memory figures cannot be read from it.")


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
