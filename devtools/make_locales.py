"""Write locales/en/nodeDefs.json from the nodes, and say what the other languages lack.

    <environment's python> devtools/make_locales.py URL_OF_A_COMFYUI_SERVER

The server must run this pack. Texts that a language has and the nodes no longer have are taken
out; missing ones are listed, and the exit code is 1 until they are translated by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from locale_texts import Texts, node_texts, paths

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ROOT / "locales"
FILE = "nodeDefs.json"


def from_server(url: str) -> Texts:
    """Return the texts of every node of this pack as the server at `url` declares them."""
    with urllib.request.urlopen(f"{url}/object_info", timeout=60) as answer:
        nodes: dict[str, Any] = json.load(answer)
    module = nodes["IID_Apply"]["python_module"]
    return {
        name: node_texts(info)
        for name, info in sorted(nodes.items())
        if info["python_module"] == module
    }


def keep_wanted(found: Texts, wanted: Texts) -> Texts:
    """Return the part of `found` whose keys are in `wanted`, in the order of `wanted`."""
    return {
        key: keep_wanted(found[key], value) if isinstance(value, dict) else found[key]
        for key, value in wanted.items()
        if key in found
    }


def read(path: Path) -> Texts:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(path: Path, texts: Texts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(texts, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url", help="for example http://127.0.0.1:8188")
    english = from_server(parser.parse_args().url)
    before = paths(read(LOCALES / "en" / FILE))
    write(LOCALES / "en" / FILE, english)
    wanted = paths(english)
    complete = True
    for folder in sorted(LOCALES.iterdir()):
        if folder.name == "en":
            continue
        texts = keep_wanted(read(folder / FILE), english)
        write(folder / FILE, texts)
        missing = sorted(wanted.keys() - paths(texts).keys())
        changed = sorted(path for path in wanted.keys() & before if wanted[path] != before[path])
        for path in missing:
            print(f"{folder.name}: {path} is not translated: {wanted[path]}")
        for path in changed:
            print(f"{folder.name}: {path} has changed in English: {wanted[path]}")
        complete = complete and not missing
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
