"""Train the drawn world's networks from nothing and pack them.

    <environment's python> devtools/drawn/train.py COMFYUI [--folder DIR] [--steps N]

Seeds are fixed. What is finished or begun lies in the folder and is not done again: run the same
command to go on after a stop. The small networks and the pictures take about an hour of one CPU
core, each step of the chain 2 to 4 seconds, all in all about three hours; a GPU is not used.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEVTOOLS = Path(__file__).resolve().parent.parent
STEPS = {"recogniser": 1500, "autoencoder": 1000, "detector": 2400, "hints": 400, "chain": 2000}
PICTURES = 8000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("comfyui", type=Path, help="a checkout of ComfyUI")
    parser.add_argument("--folder", type=Path, default=DEVTOOLS.parent / ".dev" / "drawn")
    parser.add_argument("--steps", type=int, default=STEPS["chain"], help="of the chain")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("detector", "chain", "pack"), help="one part alone")
    return parser.parse_args()


def start(comfyui: Path) -> Any:
    """Make ComfyUI and this folder's modules importable; return a function that imports one."""
    sys.path.insert(0, str(DEVTOOLS))
    maker = importlib.import_module("make_standins")
    maker.start_comfyui(comfyui)
    maker.checkout()
    return lambda name: importlib.import_module(f"{maker.PACKAGE}.devtools.drawn.{name}")


class Stages:
    """The parts in their order, each made once."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.module = start(options.comfyui.resolve())
        self.folder: Path = options.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.steps = {**STEPS, "chain": options.steps}
        self.threads: int = options.threads
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:6.0f} s] {text}", flush=True)

    def net(self, name: str, empty: Callable[[], Any], train: Callable[..., Any]) -> Any:
        """Return a small network: from the folder if it is there, else trained and kept there."""
        import torch

        path = self.folder / f"{name}.pt"
        if not path.is_file():
            torch.save(train(self.steps[name], self.say).state_dict(), path)
        net = empty()
        net.load_state_dict(torch.load(path))
        return net.eval()

    def pack(self) -> None:
        """Write what is trained so far, in 8 bit, where the stand-ins' maker takes it."""
        import torch

        nets = {
            name: torch.load(self.folder / f"{name}.pt")
            for name in ("recogniser", "autoencoder", "detector")
        }
        chain = torch.load(self.folder / "chain.pt")
        self.module("packed").save({**nets, "chain": chain["average"]})
        self.say(f"packed the chain of step {chain['step']}")

    def small(self) -> tuple[Any, Any, Any]:
        """Return recogniser, autoencoder and IdentityNet's hint block."""
        nets, training = self.module("small_nets"), self.module("chain_training")
        chain = self.module("chain").Chain
        recogniser = self.net(
            "recogniser", self.module("recogniser").Recogniser, nets.train_recogniser
        )
        autoencoder = self.net(
            "autoencoder", self.module("autoencoder").Autoencoder, nets.train_autoencoder
        )
        return (
            recogniser,
            autoencoder,
            self.net("hints", lambda: chain().control.input_hint_block, training.train_hint_block),
        )

    def detector(self, autoencoder: Any) -> None:
        train = self.module("small_nets").train_detector
        self.net(
            "detector",
            self.module("detector").Detector,
            lambda steps, say: train(steps, say, autoencoder),
        )

    def chain(self, small: tuple[Any, Any, Any]) -> None:
        import torch

        pools, training = self.module("pool"), self.module("chain_training")
        path, encoded = self.folder / "pool.pt", self.folder / "encoded.pt"
        if not encoded.is_file():
            if not path.is_file():
                self.say(f"drawing {PICTURES} pictures")
                torch.save(pools.draw_pool(PICTURES, 9, small[0], small[2]), path)
            self.say("encoding them")
            drawn = {name: part[:PICTURES] for name, part in torch.load(path).items()}
            pools.encode_pool(drawn, small[1]).save(encoded)
        pool = pools.Pool(**torch.load(encoded))
        texts = self.module("texts").encoded()
        self.say("training the chain")
        trainer = training.Trainer(small[2], pool, texts, self.folder, self.threads)
        trainer.run(self.steps["chain"], self.say)


def main() -> None:
    options = parse()
    stages = Stages(options)
    import torch

    torch.set_num_threads(1)  # the networks are small: more threads wait for each other
    if options.only != "pack":
        small = stages.small()
        if options.only != "chain":
            stages.detector(small[1])
        if options.only != "detector":
            stages.chain(small)
    if options.only in (None, "pack"):
        stages.pack()


if __name__ == "__main__":
    main()
