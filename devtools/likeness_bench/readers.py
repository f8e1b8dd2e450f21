"""How well a picture fits a text, and how like two pictures are: CLIP by the user's own file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from .errors import QualityError
from .people import Picture
from .recognisers import Face

if TYPE_CHECKING:
    from torch import Tensor

NEEDED = ("config.json", "preprocessor_config.json")


class Reader(Protocol):
    """Compares pictures with texts and with each other.

    name, text_column, alike_column: for the page and the tables.
    """

    name: str
    text_column: str
    alike_column: str

    def text(self, picture: Picture, face: Face | None, prompt: str, /) -> float: ...

    def alike(self, picture: Picture, other: Picture, /) -> float: ...


class ClipReader:
    """transformers' CLIP from a folder, on the CPU or a GPU; cosines of its embeddings."""

    text_column, alike_column = "CLIP-T", "CLIP-I"

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """folder: as save_pretrained writes it. Raises QualityError where it holds no CLIP."""
        missing = [file for file in NEEDED if not (folder / file).is_file()]
        if missing:
            raise QualityError(
                f"--clip: {folder} lacks {' and '.join(missing)}. Name a folder that holds a whole "
                "CLIP of transformers, for example a copy of openai/clip-vit-base-patch32; "
                "ComfyUI's clip and clip_vision files are halves of one."
            )
        from transformers import CLIPModel, CLIPProcessor, logging

        logging.set_verbosity_error()  # it would rather have torchvision for its pictures
        try:
            self._model: Any = CLIPModel.from_pretrained(folder, local_files_only=True)
            self._processor: Any = CLIPProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
            raise QualityError(f"--clip: {folder} cannot be opened as CLIP ({error}).") from error
        self._model.to(device).eval()
        self._device = device
        config = self._model.config
        vision = config.vision_config
        self.name = (
            f"CLIP {folder.name} (patches of {vision.patch_size}, {vision.num_hidden_layers} "
            f"layers, {config.projection_dim} numbers)"
        )

    def text(self, picture: Picture, face: Face | None, prompt: str, /) -> float:
        """Cosine of picture and prompt (CLIP-T), -1 to 1; a long prompt is cut at 77 tokens."""
        import torch

        longest = self._model.config.text_config.max_position_embeddings
        words = self._processor(
            text=[prompt], return_tensors="pt", truncation=True, max_length=longest
        )
        with torch.inference_mode():
            of_text = self._model.text_model(**words.to(self._device)).pooler_output
            return _cosine(self._of(picture), self._model.text_projection(of_text))

    def alike(self, picture: Picture, other: Picture, /) -> float:
        """Cosine of two pictures (CLIP-I), -1 to 1."""
        return _cosine(self._of(picture), self._of(other))

    def _of(self, picture: Picture) -> Tensor:
        """Return (1, D), the embedding of a picture."""
        import torch

        pixels = self._processor(images=[Image.fromarray(picture)], return_tensors="pt")
        with torch.inference_mode():
            seen = self._model.vision_model(**pixels.to(self._device)).pooler_output
            return self._model.visual_projection(seen)


def _cosine(a: Tensor, b: Tensor) -> float:
    from torch.nn.functional import cosine_similarity

    return float(cosine_similarity(a.float(), b.float())[0])
