"""The commands of the fleet; `python3 -m fleet COMMAND --help` explains each.

Their imports wait until a command needs them: plan, status and retry run on Python alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import folder, plan, status
from .errors import FleetError, GiveBackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .work import Patience

BROKER = "FLEET_BROKER"
CHUNK = 8
LONGEST_LINE = 400  # characters of a log line; Dramatiq would print whole messages


def command_plan(options: argparse.Namespace) -> int:
    made = plan.make_plan(options.jobs, options.graph, options.out, options.picture)
    print(f"{made.jobs} pictures of {made.people} people, planned in {options.out}.")
    if made.repeated:
        print(f"{made.repeated} rows are the same picture as another row.")
    if made.photos:
        print(f"{made.photos} photos are to be encoded: python3 -m fleet encode {options.out} ...")
    return 0


def command_encode(options: argparse.Namespace) -> int:
    from .comfy import Comfy
    from .encode import encode, open_photos
    from .work import worker_name

    planned = folder.read_plan(options.run)
    keys = open_photos(planned, again=options.again)
    comfy = Comfy(options.server, worker_name())
    with bar(len(keys), "photos") as tick:
        found = encode(planned, comfy, keys, stop_on_signals(), patience(options), tick)
    print(f"{found.made} identities made, {len(found.refused)} photos refused.")
    for photo, reason in found.refused.items():
        print(f"  {photo}: {reason}")
    return 0


def command_run(options: argparse.Namespace) -> int:
    from .embedded import Embedded

    planned = folder.read_plan(options.run)
    jobs = folder.ready_jobs(planned)
    with bar(len(planned.jobs), "pictures", len(planned.jobs) - len(jobs)) as tick:
        cut = plan.chunks(jobs, options.chunk)
        stop = stop_on_signals()
        fleet = Embedded(planned, cut, stop, patience(options), lambda job: tick())
        fleet.run(options.server)
    found = status.look(planned)
    print(status.as_text(found))
    for problem in dict.fromkeys(fleet.problems):
        print(problem, file=sys.stderr)
    if found.waiting:
        print("Not finished. Run the same command again to go on.", file=sys.stderr)
    return 1 if found.waiting else 0


def command_submit(options: argparse.Namespace) -> int:
    from . import broker

    planned = folder.read_plan(options.run)
    connection = broker.connect(options.broker)
    records = broker.RedisRecords(connection.client, planned.run)
    settled = {*records.all("done"), *records.all("dead")}
    jobs = [job for job in folder.ready_jobs(planned) if job.id not in settled]
    cut = plan.chunks(jobs, options.chunk)
    with bar(len(jobs), "jobs") as tick:
        for chunk in cut:
            broker.submit(planned, connection, chunk)
            tick(len(chunk))
    print(f"{len(jobs)} jobs in {len(cut)} chunks put into the queue.")
    return 0


def command_work(options: argparse.Namespace) -> int:
    from . import broker
    from .comfy import Comfy
    from .work import worker_name

    connection = broker.connect(options.broker, options.heartbeat)
    name = options.name or worker_name()
    comfy = Comfy(options.server, name)
    stop = stop_on_signals()
    with bar(None, "pictures") as tick:
        duty = broker.Duty(
            *(connection, comfy, name, stop, patience(options)),
            out=options.out,
            done=lambda job: tick(),
        )
        duty.serve()
    if duty.problem:
        raise FleetError(duty.problem)
    return 0


def command_status(options: argparse.Namespace) -> int:
    planned = folder.read_plan(options.run)
    far: tuple[Any, ...] = ()
    if options.broker:
        from . import broker

        records = broker.RedisRecords(broker.connect(options.broker).client, planned.run)
        far = (records.all("done"), records.all("dead"))
    found = status.look(planned, *far)
    print(json.dumps(found.as_json(), indent=1) if options.json else status.as_text(found))
    return 0


def command_retry(options: argparse.Namespace) -> int:
    planned = folder.read_plan(options.run)
    revived = folder.retry(planned, options.job)
    if options.broker:
        from . import broker

        broker.RedisRecords(broker.connect(options.broker).client, planned.run).revive(revived)
    print(f"{len(revived)} jobs are no longer dead. Run or submit {options.run} again.")
    return 0


def patience(options: argparse.Namespace) -> Patience:
    from .work import Patience

    return Patience(away=options.patience, picture=options.limit)


def stop_on_signals() -> threading.Event:
    """Return what the first Ctrl+C or SIGTERM sets; a second one ends the process at once."""
    stop = threading.Event()

    def ask(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)
        os.write(2, b"\nFinishing what is running. Once more to stop at once.\n")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    return stop


@contextmanager
def bar(total: int | None, unit: str, initial: int = 0) -> Iterator[Callable[..., None]]:
    """Show a progress bar; yields what moves it on."""
    from tqdm import tqdm

    with tqdm(total=total, unit=f" {unit}", initial=initial, dynamic_ncols=True) as shown:

        def tick(number: int = 1) -> None:
            shown.update(number)

        yield tick


class Handler(logging.StreamHandler):
    """Log lines that leave a progress bar in one piece, cut where they would be endless."""

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname.lower()}: {record.getMessage()}"
        if len(line) > LONGEST_LINE:
            line = f"{line[:LONGEST_LINE]}..."
        if record.name == "fleet" and record.exc_info:
            line = f"{line}\n{logging.Formatter().formatException(record.exc_info)}"
        try:
            from tqdm import tqdm

            tqdm.write(line, file=sys.stderr)
        except ImportError:
            print(line, file=sys.stderr)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m fleet", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(do: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        name = do.__name__.removeprefix("command_")
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(do=do)
        return added

    add_plan(command(command_plan, "From a table of jobs and a graph to a RUN folder."))
    add_encode(command(command_encode, "Photos to identity files; needs antelopev2."))
    made = command(command_run, "Make the pictures on one or a few servers.")
    add_run(made)
    made.add_argument("--server", required=True, nargs="+", metavar="URL")
    add_chunk(made)
    add_patience(made)
    made = command(command_submit, "Put the jobs into a broker's queue.")
    add_run(made)
    add_broker(made, required=True)
    add_chunk(made)
    add_work(command(command_work, "Take chunks from a broker for one server."))
    made = command(command_status, "What is done, running, waiting and dead.")
    add_run(made)
    add_broker(made, required=False)
    made.add_argument("--json", action="store_true")
    made = command(command_retry, "Take jobs out of the dead, for another attempt.")
    add_run(made)
    add_broker(made, required=False)
    made.add_argument("--job", nargs="*", default=[], help="beginnings of ids; else all the dead")
    return parser.parse_args(arguments)


def add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("jobs", type=Path, help="CSV or JSON Lines: " + ", ".join(plan.COLUMNS))
    parser.add_argument("--graph", type=Path, required=True, help="a graph in API form")
    parser.add_argument("--out", type=Path, required=True, help="the RUN folder to make")
    parser.add_argument("--picture", help="the node whose pictures count, if there are several")


def add_encode(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--server", required=True, metavar="URL")
    parser.add_argument("--again", action="store_true", help="also photos refused before")
    add_patience(parser)


def add_work(parser: argparse.ArgumentParser) -> None:
    add_broker(parser, required=True)
    parser.add_argument("--server", required=True, metavar="URL")
    parser.add_argument("--name", help="of this worker, its own among all")
    parser.add_argument("--out", type=Path, help="where pictures go if RUN is not on this machine")
    parser.add_argument("--heartbeat", type=float, default=15, help="seconds (15)")
    add_patience(parser)


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN")


def add_broker(parser: argparse.ArgumentParser, *, required: bool) -> None:
    own = os.environ.get(BROKER)
    parser.add_argument(
        "--broker",
        metavar="URL",
        default=own,
        required=required and not own,
        help=f"redis:// or rediss://; else the variable {BROKER}",
    )


def add_chunk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chunk", type=int, default=CHUNK, help=f"most jobs of a chunk ({CHUNK})")


def add_patience(parser: argparse.ArgumentParser) -> None:
    away = "seconds to wait for a server that does not answer (120)"
    parser.add_argument("--patience", type=float, default=120, help=away)
    limit = "seconds that one picture may take (1800)"
    parser.add_argument("--limit", type=float, default=1800, help=limit)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    logging.basicConfig(level=logging.WARNING, handlers=[Handler()])
    try:
        return options.do(options)
    except (FleetError, GiveBackError) as error:
        print(error, file=sys.stderr)
        return 1
    except ImportError as error:
        print(
            f"{error}. This command needs the packages of fleet/requirements-fleet.txt: "
            f"{sys.executable} -m pip install -r fleet/requirements-fleet.txt",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
