"""The identity's share of cross-attention, as a pure function.

Source: InstantID `ip_adapter/attention_processor.py` (decoupled cross-attention of IP-Adapter,
arXiv 2308.06721, section 3.2.2): the same queries and the same scale, K and V of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def add_identity(
    text: Tensor,
    q: Tensor,
    kv: Tensor,
    weight: float,
    mask: Tensor | None,
    attend: Attend,
    *,
    in_place: bool,
) -> Tensor:
    """Return text + weight * mask * attend(q, K, V).

    text: (B,n,C) what cross-attention gave so far; written into where `in_place` is true.
    q: (B,n,C) queries. kv: (B,2,N,C) K and V of the identity. mask: (B or 1,n,1) in 0..1, or None.
    attend: scaled dot-product attention over heads, (B,n,C),(B,N,C),(B,N,C) -> (B,n,C).
    """
    k, v = kv.to(q.dtype).unbind(1)
    identity = attend(q, k, v)
    if mask is None:
        return text.add_(identity, alpha=weight) if in_place else text.add(identity, alpha=weight)
    if in_place:
        return text.addcmul_(identity, mask, value=weight)
    return text.addcmul(identity, mask, value=weight)
