"""PE-CLIP written down plainly, as one would first do it: CLIPModel, forward hooks, nn.GRU, prompts by concatenation.

It is what peclip's own model is compared with. Function and parameter names are the same, so that weights can be copied.
Letters: B clips, T frames of a clip, L tokens, D width, C classes, P prompt tokens.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel


class Bottleneck(nn.Module):
    """``x + W_up GELU(W_down x)``: the shared adapter and the text adapter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, width // 8)
        self.up = nn.Linear(width // 8, width)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Adapt tokens (B*T, L, D)."""
        return x + self.up(F.gelu(self.down(x)))


class Temporal(nn.Module):
    """``x + s * W_up GELU(GRU(W_down n))`` with ``n = LayerNorm(x)``, ``s = ReLU(w n + b)``: the temporal adapter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.scale = nn.Linear(width, 1)
        self.down = nn.Linear(width, width // 8)
        self.rnn = nn.GRU(width // 8, width // 8, batch_first=True)
        self.up = nn.Linear(width // 8, width)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Adapt tokens (B*T, L, D), each along the T frames of its clip."""
        normed = self.norm(x)
        down = self.down(normed)
        total, tokens, width = down.shape
        sequences = down.view(-1, frames, tokens, width).transpose(1, 2).reshape(-1, frames, width)
        hidden, _ = self.rnn(sequences)
        hidden = hidden.view(-1, tokens, frames, width).transpose(1, 2).reshape(total, tokens, width)
        return x + F.relu(self.scale(normed)) * self.up(F.gelu(hidden))


class Prompts(nn.Module):
    """P text prompts per depth, and the linear maps that make vision prompts of them."""

    def __init__(self, text_width: int, vision_width: int, depth: int, length: int = 2) -> None:
        super().__init__()
        self.tokens = nn.ParameterList(torch.randn(length, text_width) * 0.02 for _ in range(depth))
        self.project = nn.ModuleList(nn.Linear(text_width, vision_width) for _ in range(depth))


class PlainPEClip(nn.Module):
    """A frozen CLIP with adapters and prompts hooked in.

    Args:
        clip: the CLIP; its gradients are taken off.
        token_ids: (C, L) of the class texts, with P placeholders after the start token; the end has the largest id.
        depth: depths with prompts.
    """

    token_ids: Tensor

    def __init__(self, clip: CLIPModel, token_ids: Tensor, depth: int = 9) -> None:
        super().__init__()
        self.clip = clip.requires_grad_(False).eval()
        self.register_buffer("token_ids", token_ids)
        towers = {"vision": clip.vision_model, "text": clip.text_model}
        kinds = {"vision": (Bottleneck, Temporal), "text": (Bottleneck, Bottleneck)}
        self.adapters = nn.ModuleDict()
        for name, tower in towers.items():
            parts = {}
            for part, kind in zip(("attention", "mlp"), kinds[name], strict=True):
                blocks = {str(i): kind(tower.config.hidden_size) for i in range(len(tower.encoder.layers))}
                parts[part] = nn.ModuleDict(blocks)
            self.adapters[name] = nn.ModuleDict(parts)
        widths = [towers[name].config.hidden_size for name in ("text", "vision")]
        self.prompts = Prompts(*widths, depth)
        self.frames = 1
        self._hook()

    def forward(self, video: Tensor) -> Tensor:
        """Return logits (B, C) of normalised clips (B, T, 3, H, W)."""
        clips, self.frames = video.shape[:2]
        frames = self.clip.visual_projection(self.clip.vision_model(pixel_values=video.flatten(0, 1)).pooler_output)
        features = F.normalize(frames.view(clips, self.frames, -1).mean(dim=1), dim=-1)
        hidden = self.clip.text_model(input_ids=self.token_ids).last_hidden_state
        ends = hidden[torch.arange(len(hidden), device=hidden.device), self.token_ids.argmax(dim=1)]
        return 100 * features @ F.normalize(self.clip.text_projection(ends), dim=-1).T

    def _hook(self) -> None:
        for name, tower in (("vision", self.clip.vision_model), ("text", self.clip.text_model)):
            for i, layer in enumerate(tower.encoder.layers):
                attention, mlp = (self.adapters[name][part][str(i)] for part in ("attention", "mlp"))
                layer.self_attn.register_forward_hook(
                    lambda module, args, out, adapter=attention: (adapter(out[0], self.frames), *out[1:])
                )
                layer.mlp.register_forward_hook(lambda module, args, out, adapter=mlp: adapter(out, self.frames))
        depth = len(self.prompts.tokens)
        self.clip.vision_model.embeddings.register_forward_hook(
            lambda module, args, out: self._vision(out, 0, out.shape[1])
        )
        self.clip.text_model.embeddings.token_embedding.register_forward_hook(
            lambda module, args, out: self._text(out, 0)
        )
        for i in range(1, depth):
            self.clip.vision_model.encoder.layers[i].register_forward_pre_hook(
                lambda module, args, i=i: (self._vision(args[0], i, -len(self.prompts.tokens[i])), *args[1:])
            )
            self.clip.text_model.encoder.layers[i].register_forward_pre_hook(
                lambda module, args, i=i: (self._text(args[0], i), *args[1:])
            )

    def _vision(self, x: Tensor, depth: int, end: int) -> Tensor:
        """Put the vision prompts of a depth behind the first tokens of (N, L, D)."""
        prompts = self.prompts.project[depth](self.prompts.tokens[depth])
        return torch.cat([x[:, :end], prompts.to(x.dtype).expand(len(x), -1, -1)], dim=1)

    def _text(self, x: Tensor, depth: int) -> Tensor:
        """Put the text prompts of a depth behind the start token of (C, L, D)."""
        prompts = self.prompts.tokens[depth]
        return torch.cat([x[:, :1], prompts.to(x.dtype).expand(len(x), -1, -1), x[:, 1 + len(prompts) :]], dim=1)
