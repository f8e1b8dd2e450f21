"""Combinations with ComfyUI's own nodes that change when and on what the model is called."""

from __future__ import annotations

from neighbours.combination import (
    ABSENCE,
    BOTH,
    EFFECT,
    IDENTITYNET,
    MASKED_ADAPTER,
    ORDER,
    OUR_EFFECT,
    RERUN,
    ROLES,
    SLOTS,
    Combination,
    Scene,
    Step,
    like,
    step,
)
from neighbours.names import CORE, MOVING, MOVING_FACE, MOVING_MASKS, VIDEO


def windows(causal_fix: bool) -> tuple[Step, ...]:
    return (
        step(
            "ContextWindowsManual",
            "model",
            context_length=4,
            context_overlap=2,
            causal_window_fix=causal_fix,
        ),
    )


SCHEDULED_LORA = (
    step("CreateHookLora", "hooks"),
    step("ConditioningSetProperties", "positive", cond_NEW="@positive", hooks="@hooks"),
)
OWN_NODES = (
    *(
        Combination(
            CORE,
            f"Context Windows, causal fix {'on' if causal_fix else 'off'}, {name}",
            windows(causal_fix),
            (ORDER, RERUN, ABSENCE, OUR_EFFECT, like(1e-5, theirs=())),
            ours,
            prepare=prepare,
            scene=scene,
        )
        for causal_fix in (True, False)
        for name, ours, prepare, scene in (
            ("the adapter with a mask for each frame", MASKED_ADAPTER, MOVING_MASKS, VIDEO),
            ("IdentityNet with keypoints for each frame", IDENTITYNET, MOVING_FACE, MOVING),
        )
    ),
    Combination(
        CORE,
        "a LoRA as a hook on the positive alone, and Apply InstantID",
        SCHEDULED_LORA,
        (ORDER, RERUN, ABSENCE, EFFECT, SLOTS, ROLES),
        BOTH,
    ),
    *(
        Combination(
            CORE,
            f"{name} and Apply InstantID, 6 steps",
            (step(name, "model", start_percent=0.0, reuse_threshold=1.0),),
            (ORDER, RERUN, ABSENCE, EFFECT, SLOTS),
            BOTH,
            scene=Scene(steps=6),
        )
        for name in ("EasyCache", "LazyCache")
    ),
)
