"""The autoencoder of drawn pictures: a narrow net that is a TAESD with most channels at zero.

Latents are 4 x 16 x 16 for a picture of 128 x 128, each channel about 1 in size. Training runs in
the narrow net; `widened` writes it into the 64 channels that TAESD's files have, with the blocks
that are not trained as identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import Conv2d
from torch.nn.functional import relu

LATENT_CHANNELS, FULL = 4, 64
# Channels and trained blocks (of TAESD's 1 or 3) at each resolution, finest first.
ENCODER = ((16, 0), (24, 1), (48, 1), (64, 2))
DECODER = ((16, 1), (24, 1), (48, 1), (64, 2))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Conv2d(width, width, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.convs
        return relu(third(relu(second(relu(first(x))))) + x)


class Encoder(nn.Module):
    """(B,3,H,W) in 0..1 -> (B,4,H/8,W/8)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for stage, (width, blocks) in enumerate(ENCODER):
            stride = 1 if stage == 0 else 2
            layers.append(Conv2d(before, width, 3, stride, padding=1, bias=stage == 0))
            layers += [Block(width) for _ in range(blocks)] or [nn.ReLU()]
            before = width
        layers.append(Conv2d(before, LATENT_CHANNELS, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Decoder(nn.Module):
    """(B,4,h,w) -> (B,3,8h,8w), about 0..1."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = LATENT_CHANNELS
        for stage, (width, blocks) in enumerate(reversed(DECODER)):
            if stage == 0:
                layers += [Conv2d(before, width, 3, padding=1), nn.ReLU()]
            else:
                layers += [nn.Upsample(scale_factor=2)]
                layers.append(Conv2d(before, width, 3, padding=1, bias=False))
            layers += [Block(width) for _ in range(blocks)]
            before = width
        layers.append(Conv2d(before, 3, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(torch.tanh(z / 3) * 3)


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Begin as an average over 8 x 8 pixels: the first three channels carry the colours.

        From random weights nothing gets through the narrow middle for hundreds of steps.
        """
        for part in (self.encoder, self.decoder):
            for layer in part.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
            convs = [layer for layer in part.layers if isinstance(layer, nn.Conv2d)]
            for conv in convs:
                _carry_colours(conv, smooth=conv.stride != (1, 1))
            for layer in part.layers:
                if isinstance(layer, Block):
                    layer.convs[2].weight *= 0.2
                    layer.convs[2].weight[:3] = 0
        to_latent, from_latent = self.encoder.layers[-1], self.decoder.layers[0]
        to_latent.weight[:3] /= SPREAD
        to_latent.bias[:3] = -0.5 / SPREAD
        from_latent.weight[:3] *= SPREAD
        from_latent.bias[:3] = 0.5


SPREAD = 0.3  # of the colours of drawn pictures, in 0..1


def _carry_colours(conv: nn.Conv2d, *, smooth: bool) -> None:
    """Let a convolution hand on its first three channels, averaged where it halves the size."""
    line = torch.tensor([0.25, 0.5, 0.25] if smooth else [0.0, 1.0, 0.0])
    conv.weight[:3] = 0
    for channel in range(3):
        conv.weight[channel, channel] = line[:, None] * line


# Where TAESD has the first convolution and the first block of each stage, in the order of `layers`,
# and its last convolution.
ENCODER_PLACES = ((0, 1), (2, 3), (6, 7), (10, 11), 14)
DECODER_PLACES = ((1, 3), (7, 8), (12, 13), (17, 18), 19)


def widened(narrow: Autoencoder, full: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return TAESD's state dict with the narrow net in it.

    full: names and shapes of `comfy.taesd.taesd.TAESD(latent_channels=4)`.
    """
    out = {name: torch.zeros_like(tensor) for name, tensor in full.items()}
    for half, layers, places in (
        ("taesd_encoder", narrow.encoder.layers, ENCODER_PLACES),
        ("taesd_decoder", narrow.decoder.layers, DECODER_PLACES),
    ):
        stages = iter(places)
        block_at = 0
        for layer in layers:
            if isinstance(layer, Block):
                for number, conv in enumerate(layer.convs):
                    _put(out, f"{half}.{block_at}.conv.{2 * number}", conv)
                block_at += 1
            elif isinstance(layer, nn.Conv2d):
                place = next(stages)
                at, block_at = place if isinstance(place, tuple) else (place, 0)
                _put(out, f"{half}.{at}", layer)
    return out


def _put(out: dict[str, Tensor], name: str, conv: nn.Module) -> None:
    for part, tensor in conv.state_dict().items():
        out[f"{name}.{part}"][tuple(slice(0, n) for n in tensor.shape)] = tensor
