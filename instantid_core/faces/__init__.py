"""Faces: load insightface's two models, look for faces, tell them apart.

The only place that knows insightface and onnxruntime; both are imported at first use.
"""

from .analyzer import THRESHOLD, FaceAnalyzer, as_analyzer, open_analyzer
from .packs import DEFAULT_PACK, FacePack, find_pack, find_recogniser, pack_names
from .pick import PICKS, Pick, likeness, rank_faces
from .records import FoundFace, Search
from .runtime import AUTO, PROVIDERS

__all__ = [
    "AUTO",
    "DEFAULT_PACK",
    "PICKS",
    "PROVIDERS",
    "THRESHOLD",
    "FaceAnalyzer",
    "FacePack",
    "FoundFace",
    "Pick",
    "Search",
    "as_analyzer",
    "find_pack",
    "find_recogniser",
    "likeness",
    "open_analyzer",
    "pack_names",
    "rank_faces",
]
