"""Count the arithmetic of a model without computing anything."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from peclip.model.peclip import PEClip
from peclip.model.skeleton import empty_copy


def meta_copy(net: PEClip) -> PEClip:
    """Return a copy on the meta device, in evaluation mode, fp32, and not compiled: its operations can be counted.

    No weight is copied, see :func:`peclip.model.skeleton.empty_copy`.
    """
    twin = empty_copy(net, [net.backbone.tokenizer])
    twin.run_plainly()
    return twin.eval()


def video_flops(twin: PEClip, clips: int, frames: int) -> int:
    """Count the floating-point operations of the vision tower in an evaluation; a multiplication with its addition counts as two.

    Matrix multiplications and convolutions are counted. Texts are encoded once for all clips, and do not count.

    Args:
        twin: from :func:`meta_copy`.
        clips: B.
        frames: T.
    """
    counter, side = FlopCounterMode(display=False), twin.image_size
    # Of weights that learn, the counter asks for the history, which an evaluation does not keep.
    twin.requires_grad_(False)
    with torch.no_grad(), counter:
        twin.encode_video(torch.empty(clips, frames, 3, side, side, device="meta"))
    return counter.get_total_flops()


def clip_flops(net: PEClip) -> int | None:
    """Count the operations of a clip of the T frames that a model was made for, as :func:`video_flops` does.

    Returns:
        The number; None where a part from elsewhere does not run without the values of its weights.
    """
    try:
        return video_flops(meta_copy(net), 1, net.clip_format.num_frames)
    except (NotImplementedError, RuntimeError):
        return None
