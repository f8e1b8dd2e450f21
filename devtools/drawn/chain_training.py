"""Training of UNet, adapter and IdentityNet together: v-prediction with zero terminal SNR."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, mse_loss

from .chain import Chain, Faces
from .pool import Pool, hint_of
from .world import SIZE, draw_pose, draw_two_poses

Say = Callable[[str], None]
BATCH, RATE, DECAY = 32, 2e-3, 0.99
FACE = 3.0  # how much more an error counts where a face is: a background is soon learned
JITTER = 0.04  # of a face embedding's numbers, by their own size: no two photos give the same
Stage = tuple[tuple[Any, ...], Tensor, Tensor]
TIMESTEPS = 1000
HINT_CELLS = 16
POINTS = 5  # the first planes of an encoded hint say how near each of the five points is


def alphas() -> Tensor:
    """(1000,): cumulated alphas of SDXL, rescaled to zero terminal SNR as ComfyUI does."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    root = (1 - betas).cumprod(0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    squared = ((root - last) * first / (first - last)) ** 2
    squared[-1] = 4.8973451890853435e-08
    return squared.float()


def train_hint_block(steps: int, say: Say) -> nn.Module:
    """Let IdentityNet's first layers say in every cell where each of the five points lies.

    They stay as they are afterwards, so that the hints of the pool are encoded only once.
    """
    torch.manual_seed(6)
    block = Chain().control.input_hint_block
    for name, weight in block.named_parameters():
        if name.endswith("weight"):
            weight.data.mul_(1.6)
    optimizer = torch.optim.AdamW(block.parameters(), weight_decay=0)
    random = np.random.default_rng(7)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 - step / steps)
        faces = [
            np.stack([pose.kps for pose in draw_two_poses(random)])
            if random.random() < 1 / 3
            else draw_pose(random).kps[None]
            for _ in range(8)
        ]
        hints = torch.from_numpy(np.stack([hint_of(kps) for kps in faces])).movedim(-1, 1) / 255
        wanted = torch.stack([_cells(torch.from_numpy(kps)) for kps in faces])
        found = block(hints, None, None)[:, : wanted.shape[1]]
        loss = mse_loss(found, wanted)
        loss.backward()
        nn.utils.clip_grad_norm_(block.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0 or step == steps - 1:
            say(f"hints: step {step}, loss {loss.item():.4f}, of {wanted.var().item():.4f}")
    return block


def _cells(kps: Tensor) -> Tensor:
    """(P,5,2) -> (15,16,16): nearness of each point and, near it, the way to it in cells."""
    side = SIZE / HINT_CELLS
    middle = (torch.arange(HINT_CELLS) + 0.5) * side - 0.5
    x = (kps[..., 0, None, None] - middle[None, :]) / side  # (P,5,1,16)
    y = (kps[..., 1, None, None] - middle[:, None]) / side  # (P,5,16,1)
    near = torch.exp(-(x**2 + y**2) / 3)  # (P,5,16,16)
    return torch.cat([near.sum(0), (near * x).sum(0), (near * y).sum(0)])


class Texts:
    """Encoded prompts: context (n,77,D) and y (n,V); the last row is the empty prompt."""

    def __init__(self, context: Tensor, y: Tensor) -> None:
        self.context, self.y = context, y

    def rows(self, scenes: Tensor) -> Tensor:
        """(B,3) background, clothes, people -> (B,) rows, in the order of `texts.all_prompts`."""
        background, clothes, people = scenes.unbind(1)
        return (background * 8 + clothes) * 2 + people - 1


class Trainer:
    """Trains the chain; `workers` threads take a part of each batch and wait for each other."""

    def __init__(
        self, hint_block: nn.Module, pool: Pool, texts: Texts, folder: Path, workers: int
    ) -> None:
        torch.manual_seed(8)
        self.chain = Chain()
        self.chain.control.input_hint_block.load_state_dict(hint_block.state_dict())
        self.chain.control.input_hint_block.requires_grad_(False)
        self.pool, self.texts, self.folder = pool, texts, folder
        self.params = [p for p in self.chain.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.params, RATE, betas=(0.9, 0.95), weight_decay=1e-3, fused=True
        )
        self.average = [p.detach().clone() for p in self.params]
        self.alphas = alphas()
        self.step = 0
        self.generator = torch.Generator()
        self.parts = workers
        self.workers = ThreadPoolExecutor(workers)
        for parameter in self.params:
            parameter.grad = torch.zeros_like(parameter)
        if self.path.is_file():
            self._resume()

    @property
    def path(self) -> Path:
        return self.folder / "chain.pt"

    def run(self, steps: int, say: Say, save_every: float = 120.0) -> None:
        saved = began = time.monotonic()
        mean = 0.0
        while self.step < steps:
            loss = self._one_step(steps)
            mean = loss if mean == 0 else 0.98 * mean + 0.02 * loss
            if self.step % 25 == 0:
                seconds = time.monotonic() - began
                say(f"chain: step {self.step} of {steps}, loss {mean:.4f}, {seconds:.0f} s")
            if time.monotonic() - saved > save_every or self.step == steps:
                self.save()
                saved = time.monotonic()

    def save(self) -> None:
        whole = self.chain.state_dict()
        names = [n for n, p in self.chain.named_parameters() if p.requires_grad]
        averaged = {**whole, **dict(zip(names, self.average, strict=True))}
        state = {
            "step": self.step,
            "chain": whole,
            "average": averaged,
            "optimizer": self.optimizer.state_dict(),
        }
        unfinished = self.path.with_suffix(".new")
        torch.save(state, unfinished)
        os.replace(unfinished, self.path)

    def _resume(self) -> None:
        state: dict[str, Any] = torch.load(self.path)
        self.chain.load_state_dict(state["chain"])
        self.optimizer.load_state_dict(state["optimizer"])
        names = [n for n, p in self.chain.named_parameters() if p.requires_grad]
        self.average = [state["average"][name].clone() for name in names]
        self.step = state["step"]

    def _one_step(self, steps: int) -> float:
        self.generator.manual_seed(1000 + self.step)
        share = self.step / steps
        decay = 1 if share < 0.65 else max(0.03, (1 - share) / 0.35)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * min(1, (self.step + 1) / 100) * decay
        loss = sum(self.workers.map(self._part, self._batch())) / self.parts
        nn.utils.clip_grad_norm_(self.params, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        self.step += 1
        old = min(DECAY, self.step / (self.step + 50))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.params], 1 - old)
        return loss

    def _part(self, part: Stage) -> float:
        """Add the gradients of one part of the batch; return its plain loss."""
        inputs, v, weights = part
        errors = mse_loss(self.chain(*inputs), v, reduction="none")
        ((weights * errors).mean() / self.parts).backward()
        return errors.mean().item()

    def _batch(self) -> list[Stage]:
        pool, generator = self.pool, self.generator
        chance = torch.rand(5, BATCH, generator=generator)
        rows = torch.randint(0, len(pool.latents), (BATCH,), generator=generator)
        x0 = pool.latents[rows].float()
        take = torch.randint(0, pool.embeddings.shape[2], (BATCH,), generator=generator)
        embeddings = pool.embeddings[rows, :, take].float()
        blur = torch.randn(embeddings.shape, generator=generator)
        embeddings = embeddings + JITTER * embeddings.std(-1, keepdim=True) * blur
        # Nobody: the negative side. Off: neither adapter nor IdentityNet, or one of them alone.
        embeddings[chance[0] < 0.1] = 0
        off, alone = chance[1] < 0.1, chance[1] > 0.94
        how_much = 0.7 + 0.4 * chance[2]
        adapter = how_much * ~(off | (alone & (chance[3] < 0.5)))
        control = how_much * ~(off | (alone & (chance[3] >= 0.5)))
        masks = pool.masks[rows].float()
        texts = self.texts.rows(pool.scenes[rows])
        texts[chance[4] < 0.12] = len(self.texts.y) - 1
        # More of the noisy steps: who, where and which colours are decided there.
        t = (TIMESTEPS * torch.rand(BATCH, generator=generator).sqrt()).long()
        a = self.alphas[t].view(-1, 1, 1, 1)
        noise = torch.randn(x0.shape, generator=generator)
        x = a.sqrt() * x0 + (1 - a).sqrt() * noise
        v = a.sqrt() * noise - (1 - a).sqrt() * x0
        hints = pool.hints[rows].float()
        context, y = self.texts.context[texts], self.texts.y[texts]
        weights = on_faces(hints)
        out: list[Stage] = []
        for p in torch.arange(BATCH).chunk(self.parts):
            faces = Faces(embeddings[p], masks[p], adapter[p], control[p])
            inputs = x[p], t[p].float(), context[p], y[p], hints[p], faces
            out.append((inputs, v[p], weights[p]))
        return out


def on_faces(hints: Tensor) -> Tensor:
    """(B,C,16,16) encoded hints -> (B,1,16,16): weights of errors, 1 on average, more on faces."""
    near = hints[:, :POINTS].sum(1, keepdim=True).clamp(0, 1)
    weights = 1 + (FACE - 1) * max_pool2d(near, 5, stride=1, padding=2)
    return weights / weights.mean()
