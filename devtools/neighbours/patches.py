"""Combinations with packs that patch the model or the conditioning, and with videos."""

from __future__ import annotations

from neighbours.combination import (
    ABSENCE,
    ADAPTER,
    BOTH,
    EFFECT,
    IDENTITYNET,
    MASKED_ADAPTER,
    ORDER,
    OUR_EFFECT,
    RERUN,
    ROLES,
    RUNS,
    SLOTS,
    Combination,
    Scene,
    Step,
    like,
    says,
    step,
)
from neighbours.names import (
    ACN,
    ACN_DEPTH,
    ADE,
    CORE_DEPTH,
    DEPTH,
    IPADAPTER,
    KJ,
    MOVING,
    MOVING_FACE,
    MOVING_MASKS,
    PAG,
    PATCHED,
    PC,
    PULID,
    VIDEO,
)

STYLE = (
    step("Beside_StyleFile", "ipadapter pos_embed clip_vision", seed=1),
    step("IPAdapterEmbeds", "model", weight=0.6, clip_vision="@clip_vision"),
)
STYLE_AGAIN = (
    step("Beside_StyleFile", "ipadapter pos_embed clip_vision", seed=2),
    step("IPAdapterEmbeds", "model", weight=0.4, clip_vision="@clip_vision"),
)
PULID_PATCH = (step("Beside_PulidPatch", "model"),)

PATCHES = (
    Combination(IPADAPTER, "IPAdapter Embeds and the adapter", STYLE, (*PATCHED, ROLES)),
    Combination(
        IPADAPTER,
        "IPAdapter twice, around the adapter; two pictures",
        STYLE,
        (RERUN, ABSENCE, EFFECT, SLOTS),
        after=STYLE_AGAIN,
        scene=Scene(batch=2),
        note="Its place is not moved: IPAdapter adds to what it finds in a slot",
    ),
    Combination(IPADAPTER, "IPAdapter and Apply InstantID", STYLE, PATCHED, BOTH),
    Combination(
        PULID,
        "PuLID's patch (random numbers for its face encoder) and the adapter",
        PULID_PATCH,
        (*PATCHED, ROLES),
    ),
    Combination(
        PULID,
        "PuLID's patch, IPAdapter and the adapter",
        (*PULID_PATCH, *STYLE),
        PATCHED,
        needs=(IPADAPTER,),
    ),
    Combination(
        KJ,
        "Torch Settings, Patch Model Patcher Order, Sage Attention (disabled)",
        (
            step("ModelPatchTorchSettings", "model"),
            step("PatchModelPatcherOrder", "model"),
            step("PathchSageAttentionKJ", "model", sage_attention="disabled"),
        ),
        (ORDER, RERUN, ABSENCE, OUR_EFFECT, SLOTS, ROLES),
        BOTH,
    ),
    *(
        Combination(PAG, f"{node} and {name}", (step(node, "model", **inputs),), PATCHED, ours)
        for node, inputs in (
            ("PerturbedAttention", {}),
            ("SmoothedEnergyGuidanceAdvanced", {}),
            ("PLADIS", {}),
            ("NormalizedAttentionGuidance", {"negative": "@negative"}),
            (
                "SlidingWindowGuidanceAdvanced",
                {"tile_width": 64, "tile_height": 96, "tile_overlap": 16, "sigma_end": -1.0},
            ),
            ("TokenPerturbationGuidance", {}),
        )
        for name, ours in (("the adapter", ADAPTER), ("Apply InstantID", BOTH))
    ),
)


def prompted(text: str) -> tuple[Step, ...]:
    return (step("PCLazyTextEncode", "positive", text=text),)


HALVES = "a portrait MASK(0 0.5) AND a wall of bricks MASK(0.5 1)"
COUPLED = "a portrait FILL() COUPLE(0.5 1) a wall of bricks"
CONDITIONINGS = (
    *(
        Combination(PC, f"{name} and {what}", prompted(text), checks, ours)
        for name, text in (("MASK", HALVES), ("COUPLE", COUPLED))
        for what, ours, checks in (
            ("the adapter", ADAPTER, (*PATCHED, ROLES)),
            ("Apply InstantID", BOTH, (RERUN, ABSENCE, EFFECT, SLOTS)),
        )
    ),
    Combination(
        ACN,
        "its depth net and IdentityNet",
        ACN_DEPTH,
        (ORDER, RERUN, ABSENCE, EFFECT, ROLES, like(1e-5, theirs=CORE_DEPTH)),
        IDENTITYNET,
    ),
    Combination(
        ACN,
        "its depth net with soft weights, keyframes and a mask, and Apply InstantID",
        (
            step("ACN_ScaledSoftControlNetWeights", "weights"),
            step("TimestepKeyframe", "kept", strength=0.4),
            step("TimestepKeyframe", "keyframes", start_percent=0.5, prev_timestep_kf="@kept"),
            step(
                "ACN_AdvancedControlNetApply_v2",
                "positive negative",
                **DEPTH,
                timestep_kf="@keyframes",
                weights_override="@weights",
                mask_optional="@mask",
            ),
        ),
        PATCHED,
        BOTH,
    ),
    Combination(
        ACN,
        "its Reference net and the adapter",
        (
            step("ACN_ReferenceControlNet", "reference"),
            step("ACN_ReferencePreprocessor", "encoded", latent_size="@latent"),
            step(
                "ACN_AdvancedControlNetApply_v2",
                "positive negative",
                control_net="@reference",
                image="@encoded",
                strength=1.0,
            ),
        ),
        PATCHED,
    ),
    Combination(
        ACN,
        "its loader with keyframes, for IdentityNet",
        (),
        (RUNS, says("does not read the keyframes")),
        IDENTITYNET,
        prepare=(
            step("TimestepKeyframe", "keyframes", strength=0.4),
            step(
                "ControlNetLoaderAdvanced",
                "control_net",
                control_net_name="instantid-identitynet.safetensors",
                timestep_keyframe="@keyframes",
            ),
        ),
    ),
)

EVOLVED = (step("ADE_UseEvolvedSampling", "model", beta_schedule="use existing"),)
CONTEXT = step("ADE_StandardStaticContextOptions", "context", context_length=4, context_overlap=2)
WITH_CONTEXT = step(
    "ADE_UseEvolvedSampling",
    "model",
    beta_schedule="use existing",
    context_options="@context",
)
SLIDING = (CONTEXT, WITH_CONTEXT)
REFERRING = (
    CONTEXT,
    step("ADE_ContextExtras_ContextRef", "extras"),
    step("ADE_ContextExtras_Set", "context", context_opts="@context", context_extras="@extras"),
    WITH_CONTEXT,
)
WINDOWED = (ORDER, RERUN, ABSENCE, OUR_EFFECT, like(1e-5, theirs=EVOLVED))
VIDEOS = (
    Combination(
        ADE,
        "Evolved Sampling without context, and Apply InstantID",
        EVOLVED,
        (ORDER, RERUN, ABSENCE, OUR_EFFECT, SLOTS, ROLES, like(0.0, theirs=())),
        BOTH,
        scene=VIDEO,
    ),
    Combination(
        ADE,
        "sliding context, the adapter with a mask for each frame",
        SLIDING,
        (*WINDOWED, SLOTS),
        MASKED_ADAPTER,
        prepare=MOVING_MASKS,
        scene=VIDEO,
    ),
    Combination(
        ADE,
        "sliding context, IdentityNet with keypoints for each frame",
        SLIDING,
        WINDOWED,
        IDENTITYNET,
        prepare=MOVING_FACE,
        scene=MOVING,
    ),
    Combination(
        ADE,
        "sliding context, IdentityNet after Advanced-ControlNet's depth net",
        SLIDING,
        WINDOWED,
        IDENTITYNET,
        prepare=(*MOVING_FACE, *ACN_DEPTH),
        scene=MOVING,
        needs=(ACN,),
    ),
    Combination(
        ADE,
        "sliding context with ContextRef, and the adapter",
        REFERRING,
        (ORDER, RERUN, ABSENCE, OUR_EFFECT, SLOTS),
        scene=VIDEO,
    ),
)
