"""After a change of a node: bring everything that is made from the nodes up to date.

    python3 devtools/refresh.py [step ...] [--only NAME ...] [--still-right LANGUAGE:TEXT ...]
        [--break-saved-workflows]

The steps, all of them unless some are named:

    frozen     tests/host/frozen_nodes.json: new nodes, inputs and choices are added to the list.
               A change that breaks saved workflows is named, and nothing is written, unless
               --break-saved-workflows says that it is meant.
    texts      locales/en, and out of the other languages what no node has any more
    help       inputs and outputs on the help pages, in every language
    examples   example_workflows with their API forms, and the blueprint
    cards      the thumbnails of the examples, the sheet of them, the pictures of the help pages

--only keeps help, examples and cards to the nodes and workflows that are named; a picture in which
nothing has changed is left as it is. What was translated since the last time is written down in
devtools/translated. At the end stand the translations that are due: texts that are missing, or
whose English has changed since (see translations.py). --still-right takes one off the list whose
translation fits the changed English as it is. The exit code is 1 while something is left to do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import env
import translations

STEPS = ("frozen", "texts", "help", "examples", "cards")


def frozen(environment: env.Environment, anew: bool) -> bool:
    """Bring the list of frozen nodes up to date; False where saved workflows would break."""
    script = Path(__file__).with_name("freeze_nodes.py")
    command = [str(environment.python), str(script), str(environment.comfyui)]
    return subprocess.run([*command, *(["--anew"] if anew else [])]).returncode == 0


def in_the_page(steps: list[str], only: set[str]) -> list[str]:
    """Do the steps that need a server, and a browser where it must be; return what is missing."""
    import make_examples
    import make_help
    import make_locales
    from comfy_server import serve
    from frontend import open_frontend

    missing: list[str] = []
    with serve() as server:
        nodes = make_help.own_nodes(server.url)
        if "texts" in steps:
            make_locales.update(nodes)
        if "help" in steps:
            chosen = {name: info for name, info in nodes.items() if not only or name in only}
            missing = make_help.update(chosen)
        if "examples" in steps:
            with open_frontend(server.url) as frontend:
                frontend.set()
                make_examples.update(frontend, only)
    return missing


def in_the_drawn_world(only: set[str]) -> None:
    """Make what shows drawn people: thumbnails, and pictures of help if none is named."""
    import help_pictures
    import help_plots
    import make_cards

    with make_cards.drawn_world() as (server, given):
        make_cards.update(server, given, only)
        if not only:
            help_pictures.update(server, given)
            help_plots.update()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="step", help=f"any of {', '.join(STEPS)}")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--still-right", nargs="+", default=[], metavar="LANGUAGE:TEXT")
    parser.add_argument("--break-saved-workflows", action="store_true")
    env.add_arguments(parser)
    options = parser.parse_args()
    strange = sorted(set(options.steps).difference(STEPS))
    if strange:
        parser.error(f"no such step: {', '.join(strange)} (there are {', '.join(STEPS)})")
    strange = translations.unknown(frozenset(options.still_right))
    if strange:
        parser.error(f"no such text: {', '.join(strange)}")
    return options


def refresh(options: argparse.Namespace, environment: env.Environment) -> int:
    steps = options.steps or list(STEPS)
    good = True
    if "frozen" in steps:
        good = frozen(environment, options.break_saved_workflows)
    only = set(options.only)
    missing = [] if {"texts", "help", "examples"}.isdisjoint(steps) else in_the_page(steps, only)
    if "cards" in steps:
        in_the_drawn_world(only)
    translations.record(still_right=frozenset(options.still_right))
    pages = {f"help/{name.removesuffix('.md')}" for name in missing}
    due = [str(one) for one in translations.due() if one.page not in pages]
    lines = [f"{name}: no help page" for name in missing] + due
    if not good:
        lines.append("The list of frozen nodes was not written: see above.")
    print("\n".join(lines) or "No translation is due.", flush=True)
    return 0 if good and not lines else 1


def main() -> int:
    options = parse()
    return refresh(options, env.inside(options))


if __name__ == "__main__":
    sys.exit(main())
