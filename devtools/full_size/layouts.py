"""The names and shapes of every number in the three large files, in the order of their modules.

Plain Python: no torch, no ComfyUI. The tests hold these tables against ComfyUI's own models, and
the rehearsal holds the files made from them against ComfyUI's loaders.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

Shape = tuple[int, ...]
Layout = dict[str, Shape]
Entry = tuple[str, Shape]

WIDTH = 320
EMBEDDING = 4 * WIDTH
CONTEXT = 2048
ADM = 2816
# SDXL's levels: channels, transformer depth. Two residual blocks each on the way down.
LEVELS = ((WIDTH, 0), (2 * WIDTH, 2), (4 * WIDTH, 10))
MIDDLE_DEPTH = 10
RESIDUALS_PER_LEVEL = 2

FACE_EMBEDDING = 512
RESAMPLER_WIDTH = 1280
RESAMPLER_DEPTH = 4
FACE_TOKENS = 16

HINT_CHANNELS = (16, 16, 32, 32, 96, 96, 256)
VAE_CHANNELS = (128, 256, 512, 512)


def numbers(layout: Layout) -> int:
    """How many numbers a file of this layout holds."""
    return sum(prod(shape) for shape in layout.values())


def _norm(name: str, channels: int) -> Iterator[Entry]:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def _linear(name: str, out: int, into: int, bias: bool = True) -> Iterator[Entry]:
    yield f"{name}.weight", (out, into)
    if bias:
        yield f"{name}.bias", (out,)


def _conv(name: str, out: int, into: int, kernel: int = 3) -> Iterator[Entry]:
    yield f"{name}.weight", (out, into, kernel, kernel)
    yield f"{name}.bias", (out,)


def _transformer(name: str, channels: int, depth: int) -> Iterator[Entry]:
    """A spatial transformer with linear projections; ldm and diffusers use the same names."""
    yield from _norm(f"{name}.norm", channels)
    yield from _linear(f"{name}.proj_in", channels, channels)
    for i in range(depth):
        yield from _transformer_block(f"{name}.transformer_blocks.{i}", channels)
    yield from _linear(f"{name}.proj_out", channels, channels)


def _transformer_block(name: str, channels: int) -> Iterator[Entry]:
    for attention, context in (("attn1", channels), ("attn2", CONTEXT)):
        yield from _linear(f"{name}.{attention}.to_q", channels, channels, bias=False)
        yield from _linear(f"{name}.{attention}.to_k", channels, context, bias=False)
        yield from _linear(f"{name}.{attention}.to_v", channels, context, bias=False)
        yield from _linear(f"{name}.{attention}.to_out.0", channels, channels)
    yield from _linear(f"{name}.ff.net.0.proj", 8 * channels, channels)
    yield from _linear(f"{name}.ff.net.2", channels, 4 * channels)
    for i in (1, 2, 3):
        yield from _norm(f"{name}.norm{i}", channels)


# --- the checkpoint: UNet ----------------------------------------------------------------------


def _ldm_residual(name: str, into: int, out: int) -> Iterator[Entry]:
    yield from _norm(f"{name}.in_layers.0", into)
    yield from _conv(f"{name}.in_layers.2", out, into)
    yield from _linear(f"{name}.emb_layers.1", out, EMBEDDING)
    yield from _norm(f"{name}.out_layers.0", out)
    yield from _conv(f"{name}.out_layers.3", out, out)
    if into != out:
        yield from _conv(f"{name}.skip_connection", out, into, kernel=1)


def _ldm_down(prefix: str, skips: list[int]) -> Iterator[Entry]:
    """The way down; appends to `skips` the channels that the way up takes back."""
    yield from _conv(f"{prefix}0.0", WIDTH, 4)
    skips.append(WIDTH)
    block, channels = 1, WIDTH
    for level, (out, depth) in enumerate(LEVELS):
        if level > 0:
            yield from _conv(f"{prefix}{block}.0.op", channels, channels)
            skips.append(channels)
            block += 1
        for _ in range(RESIDUALS_PER_LEVEL):
            yield from _ldm_residual(f"{prefix}{block}.0", channels, out)
            channels = out
            if depth:
                yield from _transformer(f"{prefix}{block}.1", channels, depth)
            skips.append(channels)
            block += 1


def _ldm_up(prefix: str, skips: list[int]) -> Iterator[Entry]:
    block, channels = 0, LEVELS[-1][0]
    for level, (out, depth) in reversed(list(enumerate(LEVELS))):
        for i in range(RESIDUALS_PER_LEVEL + 1):
            yield from _ldm_residual(f"{prefix}{block}.0", channels + skips.pop(), out)
            channels = out
            if depth:
                yield from _transformer(f"{prefix}{block}.1", channels, depth)
            if level > 0 and i == RESIDUALS_PER_LEVEL:
                yield from _conv(f"{prefix}{block}.2.conv", channels, channels)
            block += 1


def unet() -> Layout:
    """SDXL's UNet under the names of the original checkpoint."""
    prefix = "model.diffusion_model."
    skips: list[int] = []
    deepest = LEVELS[-1][0]
    entries = [
        *_linear(f"{prefix}time_embed.0", EMBEDDING, WIDTH),
        *_linear(f"{prefix}time_embed.2", EMBEDDING, EMBEDDING),
        *_linear(f"{prefix}label_emb.0.0", EMBEDDING, ADM),
        *_linear(f"{prefix}label_emb.0.2", EMBEDDING, EMBEDDING),
        *_ldm_down(f"{prefix}input_blocks.", skips),
        *_ldm_residual(f"{prefix}middle_block.0", deepest, deepest),
        *_transformer(f"{prefix}middle_block.1", deepest, MIDDLE_DEPTH),
        *_ldm_residual(f"{prefix}middle_block.2", deepest, deepest),
        *_ldm_up(f"{prefix}output_blocks.", skips),
        *_norm(f"{prefix}out.0", WIDTH),
        *_conv(f"{prefix}out.2", 4, WIDTH),
    ]
    return dict(entries)


# --- the checkpoint: the two text encoders -----------------------------------------------------

POSITION_IDS = "conditioner.embedders.0.transformer.text_model.embeddings.position_ids"
VOCABULARY = 49408
PROMPT_TOKENS = 77


def clip_l() -> Layout:
    """OpenAI's text encoder, 12 layers of 768, under the names of transformers."""
    prefix, width = "conditioner.embedders.0.transformer.text_model", 768
    layout: Layout = {
        POSITION_IDS: (1, PROMPT_TOKENS),
        f"{prefix}.embeddings.position_embedding.weight": (PROMPT_TOKENS, width),
        f"{prefix}.embeddings.token_embedding.weight": (VOCABULARY, width),
    }
    for i in range(12):
        name = f"{prefix}.encoder.layers.{i}"
        for projection in ("k_proj", "out_proj", "q_proj", "v_proj"):
            layout.update(_linear(f"{name}.self_attn.{projection}", width, width))
        layout.update(_norm(f"{name}.layer_norm1", width))
        layout.update(_norm(f"{name}.layer_norm2", width))
        layout.update(_linear(f"{name}.mlp.fc1", 4 * width, width))
        layout.update(_linear(f"{name}.mlp.fc2", width, 4 * width))
    layout.update(_norm(f"{prefix}.final_layer_norm", width))
    return layout


def clip_g() -> Layout:
    """OpenCLIP's bigG text encoder, 32 layers of 1280, under the names of open_clip."""
    prefix, width = "conditioner.embedders.1.model", 1280
    layout: Layout = {
        f"{prefix}.logit_scale": (),
        f"{prefix}.positional_embedding": (PROMPT_TOKENS, width),
        f"{prefix}.text_projection": (width, width),
        f"{prefix}.token_embedding.weight": (VOCABULARY, width),
    }
    for i in range(32):
        name = f"{prefix}.transformer.resblocks.{i}"
        layout[f"{name}.attn.in_proj_weight"] = (3 * width, width)
        layout[f"{name}.attn.in_proj_bias"] = (3 * width,)
        layout.update(_linear(f"{name}.attn.out_proj", width, width))
        layout.update(_norm(f"{name}.ln_1", width))
        layout.update(_norm(f"{name}.ln_2", width))
        layout.update(_linear(f"{name}.mlp.c_fc", 4 * width, width))
        layout.update(_linear(f"{name}.mlp.c_proj", width, 4 * width))
    layout.update(_norm(f"{prefix}.ln_final", width))
    return layout


# --- the checkpoint: VAE -----------------------------------------------------------------------


def _vae_residual(name: str, into: int, out: int) -> Iterator[Entry]:
    yield from _norm(f"{name}.norm1", into)
    yield from _conv(f"{name}.conv1", out, into)
    yield from _norm(f"{name}.norm2", out)
    yield from _conv(f"{name}.conv2", out, out)
    if into != out:
        yield from _conv(f"{name}.nin_shortcut", out, into, kernel=1)


def _vae_middle(name: str, channels: int) -> Iterator[Entry]:
    yield from _vae_residual(f"{name}.block_1", channels, channels)
    yield from _norm(f"{name}.attn_1.norm", channels)
    for projection in ("q", "k", "v", "proj_out"):
        yield from _conv(f"{name}.attn_1.{projection}", channels, channels, kernel=1)
    yield from _vae_residual(f"{name}.block_2", channels, channels)


def vae() -> Layout:
    """SDXL's VAE under the names of the original checkpoint."""
    encoder, decoder = "first_stage_model.encoder", "first_stage_model.decoder"
    last = len(VAE_CHANNELS) - 1
    layout: Layout = dict(_conv(f"{encoder}.conv_in", VAE_CHANNELS[0], 3))
    channels = VAE_CHANNELS[0]
    for level, out in enumerate(VAE_CHANNELS):
        for i in range(RESIDUALS_PER_LEVEL):
            layout.update(_vae_residual(f"{encoder}.down.{level}.block.{i}", channels, out))
            channels = out
        if level < last:
            layout.update(_conv(f"{encoder}.down.{level}.downsample.conv", out, out))
    layout.update(_vae_middle(f"{encoder}.mid", channels))
    layout.update(_norm(f"{encoder}.norm_out", channels))
    layout.update(_conv(f"{encoder}.conv_out", 8, channels))
    layout.update(_conv(f"{decoder}.conv_in", channels, 4))
    layout.update(_vae_middle(f"{decoder}.mid", channels))
    for level, out in reversed(list(enumerate(VAE_CHANNELS))):
        for i in range(RESIDUALS_PER_LEVEL + 1):
            layout.update(_vae_residual(f"{decoder}.up.{level}.block.{i}", channels, out))
            channels = out
        if level > 0:
            layout.update(_conv(f"{decoder}.up.{level}.upsample.conv", out, out))
    layout.update(_norm(f"{decoder}.norm_out", channels))
    layout.update(_conv(f"{decoder}.conv_out", 3, channels))
    layout.update(_conv("first_stage_model.quant_conv", 8, 8, kernel=1))
    layout.update(_conv("first_stage_model.post_quant_conv", 4, 4, kernel=1))
    return layout


def checkpoint() -> Layout:
    """The SDXL base checkpoint: UNet, both text encoders, VAE; 2515 tensors."""
    return {**unet(), **clip_l(), **clip_g(), **vae()}


# --- IdentityNet -------------------------------------------------------------------------------


def _diffusers_residual(name: str, into: int, out: int) -> Iterator[Entry]:
    yield from _norm(f"{name}.norm1", into)
    yield from _conv(f"{name}.conv1", out, into)
    yield from _linear(f"{name}.time_emb_proj", out, EMBEDDING)
    yield from _norm(f"{name}.norm2", out)
    yield from _conv(f"{name}.conv2", out, out)
    if into != out:
        yield from _conv(f"{name}.conv_shortcut", out, into, kernel=1)


def _diffusers_down() -> Iterator[Entry]:
    channels = WIDTH
    for level, (out, depth) in enumerate(LEVELS):
        name = f"down_blocks.{level}"
        for i in range(RESIDUALS_PER_LEVEL):
            yield from _diffusers_residual(f"{name}.resnets.{i}", channels, out)
            channels = out
            if depth:
                yield from _transformer(f"{name}.attentions.{i}", out, depth)
        if level < len(LEVELS) - 1:
            yield from _conv(f"{name}.downsamplers.0.conv", out, out)


def _residual_channels() -> list[int]:
    """Channels of the nine residuals a ControlNet hands to the UNet, without the middle one."""
    first, second, third = (channels for channels, _ in LEVELS)
    return [first] * 4 + [second] * 3 + [third] * 2


def _hint_encoder(name: str) -> Iterator[Entry]:
    yield from _conv(f"{name}.conv_in", HINT_CHANNELS[0], 3)
    for i, (into, out) in enumerate(zip(HINT_CHANNELS[:-1], HINT_CHANNELS[1:], strict=True)):
        yield from _conv(f"{name}.blocks.{i}", out, into)
    yield from _conv(f"{name}.conv_out", WIDTH, HINT_CHANNELS[-1])


def identitynet() -> Layout:
    """IdentityNet, an SDXL ControlNet under the names of diffusers; 844 tensors."""
    deepest = LEVELS[-1][0]
    entries = [
        *_conv("conv_in", WIDTH, 4),
        *_linear("time_embedding.linear_1", EMBEDDING, WIDTH),
        *_linear("time_embedding.linear_2", EMBEDDING, EMBEDDING),
        *_linear("add_embedding.linear_1", EMBEDDING, ADM),
        *_linear("add_embedding.linear_2", EMBEDDING, EMBEDDING),
        *_hint_encoder("controlnet_cond_embedding"),
        *_diffusers_down(),
        *_diffusers_residual("mid_block.resnets.0", deepest, deepest),
        *_transformer("mid_block.attentions.0", deepest, MIDDLE_DEPTH),
        *_diffusers_residual("mid_block.resnets.1", deepest, deepest),
        *_conv("controlnet_mid_block", deepest, deepest, kernel=1),
    ]
    for i, channels in enumerate(_residual_channels()):
        entries += _conv(f"controlnet_down_blocks.{i}", channels, channels, kernel=1)
    return dict(entries)


# --- the adapter -------------------------------------------------------------------------------


def image_proj() -> Layout:
    """The Resampler's part of ip-adapter.bin."""
    width = RESAMPLER_WIDTH
    layout: Layout = {"latents": (1, FACE_TOKENS, width)}
    layout.update(_linear("proj_in", width, FACE_EMBEDDING))
    for i in range(RESAMPLER_DEPTH):
        attention, feed_forward = f"layers.{i}.0", f"layers.{i}.1"
        layout.update(_norm(f"{attention}.norm1", width))
        layout.update(_norm(f"{attention}.norm2", width))
        layout.update(_linear(f"{attention}.to_q", width, width, bias=False))
        layout.update(_linear(f"{attention}.to_kv", 2 * width, width, bias=False))
        layout.update(_linear(f"{attention}.to_out", width, width, bias=False))
        layout.update(_norm(f"{feed_forward}.0", width))
        layout.update(_linear(f"{feed_forward}.1", 4 * width, width, bias=False))
        layout.update(_linear(f"{feed_forward}.3", width, 4 * width, bias=False))
    layout.update(_linear("proj_out", CONTEXT, width))
    layout.update(_norm("norm_out", CONTEXT))
    return layout


def ip_adapter() -> Layout:
    """The 70 key and value projections of ip-adapter.bin: n odd from 1 to 139."""
    _, middle, deep = (channels for channels, _ in LEVELS)
    widths = [middle] * 4 + [deep] * 20 + [deep] * 30 + [middle] * 6 + [deep] * 10
    layout: Layout = {}
    for i, width in enumerate(widths):
        layout[f"{2 * i + 1}.to_k_ip.weight"] = (width, CONTEXT)
        layout[f"{2 * i + 1}.to_v_ip.weight"] = (width, CONTEXT)
    return layout
