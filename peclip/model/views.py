"""Logits of clips that an evaluation looks at in several views."""

import math

import torch
from torch import Tensor

from peclip.model.peclip import PEClip


def logits_of(net: PEClip, video: Tensor) -> Tensor:
    """Return the logits (B, C) of clips, float32.

    Args:
        net: the model.
        video: normalised (B, T, 3, H, W), or with V views of each clip (B, V, T, 3, H, W). Of several, the logits are the logarithms
            of the mean probabilities, which is before calibration: so it changes no prediction. Views are computed one after the
            other, so that they take no more memory than one.
    """
    if video.ndim == 5:
        return net(video).float()
    each = torch.stack([net(view).float().log_softmax(dim=-1) for view in video.unbind(dim=1)])
    return each.logsumexp(dim=0) - math.log(len(each))
