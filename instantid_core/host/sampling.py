"""What happens around a sampling: conditionings are tagged, state is made, and dropped again.

The same wrappers serve the adapter, which brings them on its MODEL, and IdentityNet, whose
ControlNet brings them as a hook where no adapter is on the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import comfy.hooks
import comfy.patcher_extension
from torch import Tensor

from . import rows as row_tags
from .adapter_run import AdapterRun
from .on_node import NodeText, warn_at
from .rows import Canvas, CarriedPerson

KEY = "faithful_instantid"
TERMS = "faithful_instantid"  # in transformer_options: the terms of a MODEL
RUN = "faithful_instantid_run"  # in transformer_options: this sampling's AdapterRun
ROWS = "faithful_instantid_rows"  # in transformer_options: the Rows of this call

_Kinds = comfy.patcher_extension.WrappersMP


def add_wrappers(options: dict[str, Any], predict: Callable[..., Any] | None = None) -> None:
    """Register the wrappers in transformer_options, once. predict: around the UNet's call."""
    wrappers = {_Kinds.OUTER_SAMPLE: around_sampling, _Kinds.APPLY_MODEL: around_call}
    if predict is not None:
        wrappers[_Kinds.DIFFUSION_MODEL] = predict
    for kind, wrapper in wrappers.items():
        if not comfy.patcher_extension.get_wrappers_with_key(kind, KEY, options):
            comfy.patcher_extension.add_wrapper_with_key(kind, KEY, wrapper, options)


class SamplingHook(comfy.hooks.TransformerOptionsHook):
    """Brings the wrappers with a ControlNet. It leaves no trace: nothing is batched apart by it."""

    def __init__(self) -> None:
        super().__init__(transformers_dict={})

    def clone(self) -> SamplingHook:
        return SamplingHook()

    def add_hook_patches(
        self, model: Any, model_options: dict[str, Any], target_dict: Any, registered: Any
    ) -> bool:
        add_wrappers(model_options["transformer_options"])
        return False


class JoinedHooks(comfy.hooks.HookGroup):
    """Hooks that stay the objects they are when groups are joined.

    ComfyUI would copy them all, and other packs' hooks do not always bear it: the attention couple
    of prompt-control loses its conditionings.
    """

    @classmethod
    def of(cls, hooks: Iterable[Any]) -> JoinedHooks:
        group = cls()
        for hook in hooks:
            group.add(hook)
        return group

    def clone(self) -> JoinedHooks:
        return self.of(self.hooks)

    def clone_and_combine(self, other: comfy.hooks.HookGroup | None) -> JoinedHooks:
        return self.of([*self.hooks, *(other.hooks if other is not None else ())])

    def new_with_common_hooks(self, other: comfy.hooks.HookGroup) -> JoinedHooks:
        return self.of(hook for hook in self.hooks if other.contains(hook))


def sampling_hooks() -> comfy.hooks.HookGroup:
    """Return the hooks that IdentityNet carries."""
    return JoinedHooks.of([SamplingHook()])


def with_sampling_hook(cond: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a conditioning's dict that brings the wrappers along."""
    return {**cond, "hooks": sampling_hooks().clone_and_combine(cond.get("hooks"))}


def around_sampling(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """OUTER_SAMPLE: tag the conditionings of this sampling, and keep its state."""
    guider = executor.class_obj
    noise: Tensor = args[0] if args else kwargs["noise"]
    carried = row_tags.tag_for_sampling(guider.conds, noise)
    _drop_emptied_hooks(guider.conds)
    nets = list(_identitynets(guider.conds))
    options = guider.model_options["transformer_options"]  # a copy that belongs to this sampling
    terms: tuple[Any, ...] = options.get(TERMS, ())
    for node in _nodes([*terms, *carried, *(net.face for net in nets)]):
        node.begin_sampling()
    _warn_of_other_frames(nets, noise.shape[0])
    is_whole = not any(net.is_cut for net in nets)
    options[row_tags.CANVAS] = Canvas((noise.shape[-2], noise.shape[-1]), is_whole)
    run = _run_for(guider, options, carried)
    try:
        return executor(*args, **kwargs)
    finally:
        if run is not None:
            run.clear()
        for net in nets:
            net.forget()


def _drop_emptied_hooks(conds: Mapping[str, list[dict[str, Any]]]) -> None:
    """Take away what ComfyUI leaves of hooks that were not registered, as SamplingHook is not.

    Beside a hook that is registered (a scheduled LoRA on the positive alone, for example) a
    conditioning with no other than ours keeps None, on which ComfyUI then fails.
    """
    for entry in (entry for entries in conds.values() for entry in entries):
        if "hooks" in entry and entry["hooks"] is None:
            del entry["hooks"]


def _run_for(
    guider: Any, options: dict[str, Any], carried: list[CarriedPerson]
) -> AdapterRun | None:
    if not options.get(TERMS):
        if carried:
            warn_at(
                (person.node for person in carried),
                "Set Person of Conditioning does nothing: the model of this sampler has no "
                "InstantID adapter. Connect the MODEL of Apply InstantID or of Apply InstantID "
                "Adapter.",
            )
        return None
    model_sampling = guider.model_patcher.get_model_object("model_sampling")
    options[RUN] = AdapterRun(options[TERMS], model_sampling, carried)
    return options[RUN]


def _nodes(parts: Iterable[Any]) -> Iterable[NodeText]:
    """Return the nodes that the parts of this sampling came from, each once."""
    found = {id(part.node): part.node for part in parts if part.node is not None}
    return found.values()


def _warn_of_other_frames(nets: Iterable[Any], frames: int) -> None:
    """Warn of keypoints with another number of frames than the latent batch."""
    told: set[int] = set()
    for net in nets:
        count = net.face.hint.frame_count
        if count in (1, frames) or count in told or net.is_cut:
            continue
        told.add(count)
        becomes = f"the last {count - frames} are not used" if count > frames else "they start over"
        warn_at(
            [net.face.node],
            f"The keypoints have {count} frames, the latent batch has {frames}: {becomes}. Give "
            "both the same number, or keypoints of one frame for all.",
        )


def _identitynets(conds: dict[str, list[dict[str, Any]]]) -> Iterable[Any]:
    """Return every IdentityNet in the chains of the conditionings, each once."""
    seen: dict[int, Any] = {}
    for entry in (entry for entries in conds.values() for entry in entries):
        net = entry.get("control")
        while net is not None and id(net) not in seen:
            seen[id(net)] = net
            net = getattr(net, "previous_controlnet", None)
    return [net for net in seen.values() if hasattr(net, "is_cut")]


def around_call(
    executor: Any,
    x: Tensor,
    t: Tensor,
    c_concat: Tensor | None = None,
    c_crossattn: Tensor | None = None,
    control: Any = None,
    transformer_options: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """APPLY_MODEL: read the tags of this call's rows before ComfyUI moves them to the device."""
    options = transformer_options or {}
    tags = without_tags(kwargs)
    options = {**options, ROWS: row_tags.read(x, tags, options)}
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


def without_tags(kwargs: dict[str, Any]) -> dict[str, Tensor]:
    """Take this pack's tags out of a call's keywords and return them."""
    return {key: kwargs.pop(key) for key in (row_tags.ROLE, row_tags.CELLS) if key in kwargs}
