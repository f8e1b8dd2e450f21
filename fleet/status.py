"""What a run has come to, from its folder (and from the broker, if that is named)."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from .folder import Plan, read_json

Records = dict[str, dict[str, Any]]
WINDOW = 600.0  # seconds before the newest picture over which the rate is taken


@dataclass
class Status:
    """Counts of jobs; reasons: of the dead, with their number; rates in pictures per minute."""

    jobs: int
    done: int
    running: int
    waiting: int
    dead: int
    per_minute: float
    reasons: dict[str, int] = field(default_factory=dict)
    workers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def rate(times: list[float]) -> float:
    """Return pictures per minute over the last ten minutes that had any; 0 for fewer than two."""
    recent = sorted(time for time in times if time > max(times) - WINDOW)
    if len(recent) < 2 or recent[-1] == recent[0]:
        return 0.0
    return 60 * (len(recent) - 1) / (recent[-1] - recent[0])


def look(plan: Plan, far_done: Records | None = None, far_dead: Records | None = None) -> Status:
    """Return the status of a run. far_done, far_dead: what the broker knows of other machines."""
    outputs = plan.outputs
    wanted = {job.id for job in plan.jobs}
    done: Records = {
        job: read_json(outputs.pictures / f"{job}.json") for job in outputs.done() & wanted
    }
    done = {**{j: r for j, r in (far_done or {}).items() if j in wanted}, **done}
    letters = {**(far_dead or {}), **outputs.letters()}
    dead = {job: letter for job, letter in letters.items() if job in wanted and job not in done}
    notes = {
        worker: note
        for worker, note in outputs.notes().items()
        if note["job"] in wanted and note["job"] not in done and note["job"] not in dead
    }
    running = len({note["job"] for note in notes.values()})
    return Status(
        jobs=len(wanted),
        done=len(done),
        running=running,
        waiting=len(wanted) - len(done) - len(dead) - running,
        dead=len(dead),
        per_minute=rate([record["time"] for record in done.values()]),
        reasons=dict(Counter(letter["reason"] for letter in dead.values()).most_common()),
        workers=_workers(done, notes),
    )


def _workers(done: Records, notes: Records) -> dict[str, dict[str, Any]]:
    times: dict[str, list[float]] = {}
    servers: dict[str, str] = {worker: note["server"] for worker, note in notes.items()}
    for record in done.values():
        times.setdefault(record["worker"], []).append(record["time"])
        servers.setdefault(record["worker"], record["server"])
    return {
        worker: {
            "server": servers[worker],
            "done": len(times.get(worker, [])),
            "per_minute": rate(times.get(worker, [])),
            "now": notes.get(worker, {}).get("job"),
        }
        for worker in sorted(servers)
    }


def as_text(status: Status) -> str:
    lines = [
        f"{status.done} of {status.jobs} done, {status.running} running, {status.waiting} waiting, "
        f"{status.dead} dead; {status.per_minute:.1f} pictures a minute"
    ]
    for worker, found in status.workers.items():
        now = f", now {found['now'][:12]}" if found["now"] else ""
        lines.append(
            f"  {worker} on {found['server']}: {found['done']} done, "
            f"{found['per_minute']:.1f} a minute{now}"
        )
    lines += [f"  dead, {count} times: {reason}" for reason, count in status.reasons.items()]
    return "\n".join(lines)
