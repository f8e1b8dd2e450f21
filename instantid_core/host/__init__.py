"""What touches ComfyUI: loading, encoding, and attaching an identity to what the user has."""

from .adapter_terms import apply_adapter
from .conditioning import apply_identitynet
from .encode import encode_identity
from .loading import adapter_from_state_dict, load_adapter

__all__ = [
    "adapter_from_state_dict",
    "apply_adapter",
    "apply_identitynet",
    "encode_identity",
    "load_adapter",
]
