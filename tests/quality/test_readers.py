"""CLIP's path on a tiny CLIP whose answers are known, and the reader of drawn pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from faithful_instantid.devtools.drawn import world
from faithful_instantid.devtools.drawn.world import Pose, Scene
from faithful_instantid.devtools.likeness_bench.errors import QualityError
from faithful_instantid.devtools.likeness_bench.people import Picture
from faithful_instantid.devtools.likeness_bench.readers import ClipReader
from faithful_instantid.devtools.likeness_bench.rehearsal import ColourReader
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
START, END = "<|startoftext|>", "<|endoftext|>"
SIDE, LONGEST = 32, 24
CAPTIONS = (
    *("a red house", "two dogs", "rain", "the sea at night", "an old oak"),
    *("bread", "a bridge", "blue glass", "my left shoe", "smoke"),
)
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])  # of CLIP's pictures, and their spread
SPREAD = np.array([0.26862954, 0.26130258, 0.27577711])


def pictures() -> list[Picture]:
    """Return ten pictures of several shapes, none square."""
    random = np.random.default_rng(5)
    shapes = [(40 + 3 * n, 64 - 2 * n, 3) for n in range(5)] * 2
    return [random.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def pixels_of(picture: Picture) -> torch.Tensor:
    """Return what CLIP sees, by hand: short side to SIDE, the middle cut out, normalised."""
    image = Image.fromarray(picture)
    short = min(image.size)
    size = tuple(int(side * SIDE / short) for side in image.size)
    small = np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float64)
    top, left = ((small.shape[n] - SIDE) // 2 for n in (0, 1))
    middle = small[top : top + SIDE, left : left + SIDE] / 255
    return torch.from_numpy((middle - MEAN) / SPREAD).movedim(-1, 0)[None].float()


def ids_of(text: str) -> torch.Tensor:
    """Return a caption's tokens by hand: one a letter, the last of a word with its end."""
    ids = [2 * len(LETTERS)]
    for word in text.split():
        letters = [LETTERS.index(letter) for letter in word]
        ids += [*letters[:-1], letters[-1] + len(LETTERS)]
    return torch.tensor([[*ids, 2 * len(LETTERS) + 1]])


def tiny_clip() -> CLIPModel:
    torch.manual_seed(2)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    ends = {"bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    text = {"num_attention_heads": 2, "vocab_size": 54, "max_position_embeddings": LONGEST}
    sight = {"num_attention_heads": 2, "image_size": SIDE, "patch_size": 8}
    return CLIPModel(
        CLIPConfig(
            text_config={**small, **text, **ends},
            vision_config={**small, **sight},
            projection_dim=16,
        )
    ).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP whose ten captions lie exactly where their ten pictures lie."""
    folder = tmp_path_factory.mktemp("clip")
    model = tiny_clip()
    with torch.no_grad():
        texts = torch.cat([model.text_model(ids_of(t)).pooler_output for t in CAPTIONS])
        seen = torch.cat([model.vision_model(pixels_of(p)).pooler_output for p in pictures()])
        wanted = model.visual_projection(seen)
        solved = torch.linalg.lstsq(texts.double(), wanted.double()).solution
        model.text_projection.weight.copy_(solved.T)
    model.save_pretrained(folder)
    sides = {"height": SIDE, "width": SIDE}
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=sides).save_pretrained(folder)
    tokens = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), START, END]
    names = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": CLIPTokenizer.__name__, **names})
    )
    return folder


@pytest.fixture(scope="module")
def clip(folder: Path) -> ClipReader:
    return ClipReader(folder)


def test_a_captions_own_picture_is_first_of_ten_and_fits_it_exactly(clip: ClipReader) -> None:
    table = np.array([[clip.text(p, None, text) for p in pictures()] for text in CAPTIONS])
    assert table.argmax(1).tolist() == list(range(10))
    assert table.diagonal() == pytest.approx(np.ones(10), abs=1e-4)  # a system solved in fp32


def test_clip_t_and_clip_i_are_cosines_of_clips_own_numbers(clip: ClipReader, folder: Path) -> None:
    first, second, *_ = pictures()
    model = CLIPModel.from_pretrained(folder).eval()
    both = torch.cat([pixels_of(first), pixels_of(second)])
    with torch.no_grad():
        out = model(input_ids=ids_of("smoke"), pixel_values=both)
    scale = math.exp(model.logit_scale.item())
    own = [clip.text(picture, None, "smoke") for picture in (first, second)]
    assert own == pytest.approx((out.logits_per_image[:, 0] / scale).tolist(), abs=1e-5)
    alike = float(out.image_embeds[0] @ out.image_embeds[1])
    assert clip.alike(first, second) == pytest.approx(alike, abs=1e-5)
    assert clip.alike(second, second) == pytest.approx(1, abs=1e-6)


def test_a_prompt_longer_than_clip_takes_is_cut(clip: ClipReader) -> None:
    (picture, *_) = pictures()
    long = "abcdefg " * 4
    assert clip.text(picture, None, long) == pytest.approx(
        clip.text(picture, None, long + "and something else"), abs=1e-6
    )


def test_the_page_can_name_the_clip_and_a_folder_that_holds_none_gets_a_sentence(
    clip: ClipReader, folder: Path, tmp_path: Path
) -> None:
    assert clip.name == f"CLIP {folder.name} (patches of 8, 2 layers, 16 numbers)"
    with pytest.raises(QualityError, match="lacks config.json and preprocessor_config.json"):
        ClipReader(tmp_path)
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(QualityError, match="cannot be opened as CLIP"):
        ClipReader(tmp_path)


def test_a_drawn_scenes_own_picture_is_first_of_ten() -> None:
    random = np.random.default_rng(8)
    colours = [(a, b) for a in world.COLOUR_NAMES for b in world.COLOUR_NAMES if a != b]
    scenes = [Scene(*colours[n]) for n in random.choice(len(colours), 10, replace=False)]
    pose = Pose(60, 62, 70, tilt=5)
    drawn = [world.draw([(world.draw_identity(random), pose)], scene) for scene in scenes]
    reader = ColourReader()
    table = np.array([[reader.text(p, None, scene.prompt()) for p in drawn] for scene in scenes])
    assert table.argmax(1).tolist() == list(range(10))
    assert table.diagonal().min() > 0.98 > 0.97 > np.sort(table, axis=1)[:, -2].max()
    assert reader.alike(drawn[0], drawn[0]) == 1
    assert reader.alike(np.zeros((8, 9, 3), np.uint8), np.full((8, 9, 3), 255, np.uint8)) == 0
