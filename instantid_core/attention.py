"""The identity's share of cross-attention, as a pure function.

Source: InstantID `ip_adapter/attention_processor.py` (decoupled cross-attention of IP-Adapter,
arXiv 2308.06721, section 3.2.2): the same queries and the same scale, K and V of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .masks import LaidMask

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def add_identity(
    text: Tensor,
    q: Tensor,
    kv: Tensor,
    weight: float,
    mask: LaidMask | None,
    attend: Attend,
    *,
    in_place: bool,
) -> Tensor:
    """Return text + weight * mask * attend(q, K, V); where the mask is 0 nothing is computed.

    text: (B,n,C) what cross-attention gave so far; written into where `in_place` is true.
    q: (B,n,C) queries. kv: (B,2,N,C) K and V of the identity. mask: None is 1 in every cell.
    attend: scaled dot-product attention over heads, (B,n,C),(B,N,C),(B,N,C) -> (B,n,C).
    """
    k, v = kv.to(q.dtype).unbind(1)
    if mask is None:
        identity = attend(q, k, v)
        return text.add_(identity, alpha=weight) if in_place else text.add(identity, alpha=weight)
    if mask.is_empty:
        return text
    queries = mask.cut(q)
    identity = attend(queries.flatten(1, 2), k, v).view_as(queries)
    out = text if in_place else text.clone()
    mask.cut(out).addcmul_(identity, mask.values, value=weight)
    return out
