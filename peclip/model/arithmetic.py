"""Count the arithmetic of a model, without computing anything wherever that is possible."""

from contextlib import suppress
from copy import deepcopy
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from peclip.model.backbones.freeze import empty_copy
from peclip.model.peclip import PEClip


def meta_copy(net: PEClip) -> PEClip:
    """Return a copy on the meta device, in evaluation mode, fp32, and not compiled: its operations can be counted.

    No weight is copied, see :func:`peclip.model.backbones.freeze.empty_copy`.
    """
    twin = empty_copy(net, [net.backbone.tokenizer])
    twin.run_plainly()
    return twin.eval()


def video_flops(twin: PEClip, clips: int, frames: int) -> int:
    """Count the floating-point operations of the vision tower in an evaluation; a multiplication with its addition counts as two.

    Matrix multiplications and convolutions are counted. Texts are encoded once for all clips, and do not count.

    Args:
        twin: copy without weights, from :func:`meta_copy`.
        clips: B, number of clips.
        frames: T.
    """
    counter, side = FlopCounterMode(display=False), twin.image_size
    # Of weights that learn, the counter asks for the history, which an evaluation does not keep.
    twin.requires_grad_(False)
    with torch.no_grad(), counter, _StepsAtOnce():
        twin.encode_video(torch.zeros(clips, frames, 3, side, side, device=twin.token_ids.device))
    return counter.get_total_flops()


def clip_flops(net: PEClip) -> int | None:
    """Count the operations of a clip of the T frames that a model was made for, as :func:`video_flops` does.

    A part from elsewhere may ask for values that the meta device does not have: then one black clip is computed.

    Returns:
        The number; None if a part cannot compute a clip.
    """
    for copy in (meta_copy, _working_copy):
        with suppress(Exception):  # an error of a user's part is reported when it is trained
            twin = copy(net)
            with _held(twin), sdpa_kernel(SDPBackend.MATH):  # its products are counted on every device
                return video_flops(twin, 1, net.clip_format.num_frames)
    return None


class _StepsAtOnce(TorchFunctionMode):
    """Lets a GRU on the meta device take all T steps at once: as many operations, while one after another takes a second."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        # Of one layer and direction, with biases, batch first.
        if func is torch.gru and args[0].is_meta and args[3:5] == (True, 1) and args[7:] == (False, True):
            x, state, (of_input, of_hidden, *_) = args[:3]
            hidden = F.linear(x, of_input)[..., : state.shape[-1]]
            F.linear(hidden, of_hidden)
            return hidden, state
        return func(*args, **(kwargs or {}))


def _working_copy(net: PEClip) -> PEClip:
    """Return a copy that shares the frozen weights, in evaluation mode, and not compiled."""
    shared = [net.backbone.tokenizer, *net.clip.parameters(), *net.clip.buffers()]
    twin = deepcopy(net, {id(each): each for each in shared})
    twin.run_plainly()
    return twin.eval()


def _held(twin: PEClip) -> torch.autocast:
    """Return the autocast that a copy needs, in the precision in which its frozen matrices are held."""
    device, narrow = twin.token_ids.device.type, {weight.dtype for weight in twin.clip.parameters()} - {torch.float32}
    return torch.autocast(device if narrow else "cpu", next(iter(narrow), torch.bfloat16), enabled=bool(narrow))
