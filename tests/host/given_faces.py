"""A face analyzer that was told what it finds, for predictions that start from embeddings."""

from __future__ import annotations

import numpy as np
import torch
from faithful_instantid.instantid_core.faces import FaceAnalyzer, FoundFace, Search
from faithful_instantid.instantid_core.images import ChannelOrder, Picture
from faithful_instantid.instantid_core.keypoints import FacePoints

KPS = np.array([[24, 24], [40, 24], [32, 34], [26, 44], [38, 44]], np.float32)
BOX = np.array([16, 8, 48, 56], np.float32)


class GivenFaces(FaceAnalyzer):
    """Finds one face in each photo of `photos`, and none in any other picture."""

    def __init__(self, embeddings: list[torch.Tensor]) -> None:
        """embeddings: (512,) each, of the photos in their order."""
        self.embeddings = [embedding.numpy() for embedding in embeddings]

    @property
    def photos(self) -> torch.Tensor:
        """(M, 64, 64, 3): plain photos, told apart by how bright they are."""
        brightness = torch.arange(1, len(self.embeddings) + 1) / 255
        return brightness[:, None, None, None].expand(-1, 64, 64, 3)

    def find(self, picture: Picture, *, threshold: float = 0.5, thorough: bool = False) -> Search:
        known = picture.shape == (64, 64, 3) and picture.max() == picture.min() > 0
        faces = (FoundFace(FacePoints(KPS, BOX), 0.9),) if known else ()
        return Search(faces, ("given",), 0.9 if known else 0.0)

    def find_as_insightface(self, picture: Picture) -> Search:
        return self.find(picture)

    def embed(
        self, picture: Picture, face: FoundFace, order: ChannelOrder = ChannelOrder.BGR
    ) -> np.ndarray:
        return self.embeddings[int(picture.max()) - 1]
