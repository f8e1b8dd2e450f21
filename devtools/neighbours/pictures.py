"""Combinations with packs that cut pictures, sample on their own, or use the old node ids."""

from __future__ import annotations

from dataclasses import replace

from neighbours.combination import (
    ABSENCE,
    ADAPTER,
    BOTH,
    EFFECT,
    ELSEWHERE,
    IDENTITYNET,
    KSAMPLER,
    MASKED_ADAPTER,
    ORDER,
    OUR_EFFECT,
    RERUN,
    ROLES,
    RUNS,
    SLOTS,
    WEIGHT,
    Check,
    Combination,
    Step,
    like,
    says,
    step,
)
from neighbours.names import (
    CORE_DEPTH,
    CROP,
    EASY,
    IMPACT,
    INSPIRE,
    LARGE,
    OLD_PACK,
    PATCHED,
    SAMPLED,
    SOMEBODY,
    TILED,
    USDU,
)

CORNER = (step("Beside_CornerMask", "mask"),)

# Impact's Detailer: a crop around the mask is enlarged, sampled and put back.
SEGMENTS = (step("MaskToSEGS", "segs"),)
DETAIL = {"guide_size": 128, "max_size": 256, "scheduler": "normal"}
PIPE = step("ToBasicPipe", "basic_pipe")
DETAILER = (*SEGMENTS, step("DetailerForEach", "result", **DETAIL))
PIPED = (*SEGMENTS, PIPE, step("DetailerForEachPipe", "result", **DETAIL))
PROVIDER = step("KSamplerAdvancedProvider", "sampler", scheduler="normal")
REGIONAL_SAMPLER = step(
    "RegionalSampler",
    "result",
    samples="@latent",
    base_sampler="@sampler",
    regional_prompts="@regions",
    base_only_steps=1,
    overlap_factor=1,
)
IMPACT_REGIONS = (
    *(PIPE, PROVIDER, step("RegionalPrompt", "regions", advanced_sampler="@sampler")),
    REGIONAL_SAMPLER,
)
INSPIRE_REGIONS = (
    *(PIPE, PROVIDER, step("RegionalPromptSimple //Inspire", "regions", scheduler="normal")),
    REGIONAL_SAMPLER,
)
INSPIRE_SAMPLER = (
    step(
        "KSampler //Inspire",
        "result",
        latent_image="@latent",
        scheduler="normal",
        noise_mode="CPU",
    ),
)
SAMPLERS = (
    *(
        Combination(IMPACT, f"{name} and {what}", (), SAMPLED, ours, sample=sample)
        for name, sample in (
            ("DetailerForEach", DETAILER),
            ("DetailerForEachPipe", PIPED),
            ("RegionalSampler", IMPACT_REGIONS),
        )
        for what, ours in (("the adapter", ADAPTER), ("Apply InstantID", BOTH))
    ),
    *(
        Combination(
            INSPIRE,
            f"its KSampler and {what}",
            (),
            (*SAMPLED, ROLES, like(0.0, sample=KSAMPLER)),
            ours,
            sample=INSPIRE_SAMPLER,
        )
        for what, ours in (("the adapter", ADAPTER), ("Apply InstantID", BOTH))
    ),
    Combination(
        INSPIRE,
        "RegionalPromptSimple in Impact's RegionalSampler, and Apply InstantID",
        (),
        SAMPLED,
        BOTH,
        sample=INSPIRE_REGIONS,
        needs=(IMPACT,),
    ),
    Combination(
        INSPIRE,
        "RegionalConditioningSimple and Apply InstantID",
        (
            step("RegionalConditioningSimple //Inspire", "region", prompt="a red hat"),
            step(
                "ConditioningCombine",
                "positive",
                conditioning_1="@positive",
                conditioning_2="@region",
            ),
        ),
        (RERUN, ABSENCE, EFFECT, SLOTS, ROLES),
        BOTH,
    ),
)


def redrawn(tiles_at_once: int) -> tuple[Step, ...]:
    return (
        step(
            "UltimateSDUpscaleNoUpscale",
            "result",
            upscaled_image="@image",
            scheduler="normal",
            denoise=0.6,
            tile_width=128,
            tile_height=192,
            tile_padding=16,
            batch_size=tiles_at_once,
        ),
    )


def tiled(method: str, tiles_at_once: int) -> tuple[Step, ...]:
    return (
        step(
            "TiledDiffusion",
            "model",
            method=method,
            tile_width=128,
            tile_height=192,
            tile_overlap=32,
            tile_batch_size=tiles_at_once,
        ),
    )


REGION = (replace(BOTH[0], inputs={**BOTH[0].inputs, "face_region": True}),)
LEFT_OUT = "masks and face regions are left out here"
TILES = (
    *(
        Combination(
            USDU,
            f"4 tiles, {at_once} at once, {name}",
            theirs,
            checks,
            ours,
            sample=redrawn(at_once),
            scene=LARGE,
        )
        for at_once in (1, 4)
        for name, theirs, ours, checks in (
            ("the adapter", (), ADAPTER, SAMPLED),
            ("a depth net and Apply InstantID", CORE_DEPTH, BOTH, PATCHED),
            ("Apply InstantID in the face region", (), REGION, (RERUN, ABSENCE, says(LEFT_OUT))),
        )
    ),
    Combination(
        USDU,
        "4 tiles, the adapter alone with a mask",
        (),
        (RERUN, ABSENCE, OUR_EFFECT),
        MASKED_ADAPTER,
        sample=redrawn(1),
        scene=LARGE,
        note="Nobody tells the adapter alone that it is a tile: its mask lies whole over each, as "
        "the help page says",
    ),
    *(
        Combination(
            TILED,
            f"{method}, {name}, tile batch 4",
            tiled(method, 4),
            (*checks, like(1e-5, theirs=tiled(method, 1))),
            ours,
            prepare=prepare,
            scene=LARGE,
        )
        for method in ("MultiDiffusion", "Mixture of Diffusers")
        for name, ours, prepare, checks in (
            ("the adapter", ADAPTER, (), (*PATCHED, ROLES)),
            ("IdentityNet", IDENTITYNET, (), (ORDER, RERUN, ABSENCE, EFFECT)),
            (
                "the adapter with a mask in a corner",
                MASKED_ADAPTER,
                CORNER,
                (*PATCHED, ELSEWHERE),
            ),
        )
    ),
)

CUT = (
    step(
        "InpaintCropImproved",
        "stitcher image mask",
        output_target_width=128,
        output_target_height=192,
        device_mode="cpu (compatible)",
        mask="@mask",
    ),
    step("IID_FaceKeypoints", "keypoints"),
)
STITCHED = (
    step("VAEEncode", "latent", pixels="@image"),
    step("SetLatentNoiseMask", "latent", samples="@latent"),
    step("KSampler", "samples", latent_image="@latent", scheduler="normal", denoise=0.7),
    step("VAEDecode", "inpainted_image"),
    step("InpaintStitchImproved", "result"),
)
EASY_PIPE = (
    step(
        "easy pipeIn",
        "pipe",
        model="@model",
        pos="@positive",
        neg="@negative",
        latent="@latent",
        vae="@vae",
        clip="@clip",
        image="@image",
    ),
)
EASY_APPLY = (
    step(
        "easy instantIDApply",
        "- model positive negative",
        image="@photo",
        instantid_file="ip-adapter.bin",
        insightface="CPU",
        control_net_name="instantid-identitynet.safetensors",
        weight=WEIGHT,
        cn_strength=WEIGHT,
    ),
)
OLD_LOADERS = (
    step("InstantIDModelLoader", "instantid"),
    step("InstantIDFaceAnalysis", "insightface"),
)
OLD_PATCH = (step("InstantIDAttentionPatch", "model -", image="@photo", weight=0.6),)
OLD_APPLY = (step("ApplyInstantID", "model positive negative", image="@photo", weight=0.6),)
OTHERS = (
    Combination(
        CROP,
        "crop, Apply InstantID on the crop, stitch",
        (),
        (*SAMPLED, ELSEWHERE),
        BOTH,
        prepare=CUT,
        sample=STITCHED,
        scene=replace(LARGE, pose=SOMEBODY),
    ),
    Combination(
        EASY,
        "easy instantIDApply on our old ids, as ApplyInstantIDAdvanced",
        (),
        (
            RUNS,
            RERUN,
            OUR_EFFECT,
            like(
                0.0,
                ours=(
                    step(
                        "ApplyInstantIDAdvanced",
                        "model positive negative",
                        image="@photo",
                        ip_weight=WEIGHT,
                        cn_strength=WEIGHT,
                        noise=0.35,
                    ),
                ),
            ),
        ),
        EASY_APPLY,
        prepare=(
            step("InstantIDModelLoader", "instantid", instantid_file="ip-adapter.bin"),
            step("InstantIDFaceAnalysis", "insightface"),
            *EASY_PIPE,
        ),
    ),
    Combination(
        OLD_PACK,
        "its Attention Patch on the same MODEL as the adapter",
        OLD_PATCH,
        (*PATCHED, Check("ids", text=OLD_PACK)),
        prepare=OLD_LOADERS,
    ),
    Combination(
        OLD_PACK,
        "its Apply node beside the adapter",
        OLD_APPLY,
        PATCHED,
        prepare=OLD_LOADERS,
    ),
)
