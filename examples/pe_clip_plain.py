"""PE-CLIP on one page: the method of https://arxiv.org/abs/2503.16945 as plain PyTorch on Hugging Face's CLIPModel.

A frozen CLIP (https://arxiv.org/abs/2103.00020) compares a clip of a face with a sentence per expression. PE-CLIP makes it
good at that by training 6 % more parameters, put into both of its towers:

    vision tower, each of 12 blocks, every frame         text tower, each of 12 blocks, every class text
      x = x + ShA(attention(norm(x)))                      x = x + ShA(attention(norm(x)))
      x = x + TDA(mlp(norm(x)))                            x = x + TA(mlp(norm(x)))
      blocks 0-8: new vision prompts  <-- W ---            blocks 0-8: new text prompts

    ShA, TA  Bottleneck   paper, section "Shared Adapter": the only adapters that a text needs
    TDA      Temporal     paper, section "Temporal Dynamic Adapter": the only place where frames see each other
    prompts  Prompts      MaPLe, https://arxiv.org/abs/2210.03117, section 3, as the paper uses it

The class texts describe expressions by the muscles that move: "Cheek Raiser, Lip Corner Puller." for happiness.

peclip computes the same, faster and in less memory (a test compares the logits and gradients of both). Its parameters have
the same names, so a trained peclip can be loaded into this page. Letters: B clips, T frames of a clip, L tokens, D width,
C classes, P prompt tokens.

    python examples/pe_clip_plain.py     # a small model: shapes; then the parameters of ViT-B/16
"""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

REDUCTION = 8
"""D / (width of a bottleneck)."""

LOGIT_SCALE = 100.0
"""CLIP's temperature of 0.01, the inverse; the paper keeps it fixed."""


class Bottleneck(nn.Module):
    """``x + W_up GELU(W_down x)``: the shared adapter (ShA) and the text adapter (TA).

    "Shared" means one design for both towers; every block of each tower has weights of its own.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, width // REDUCTION)
        self.up = zero(nn.Linear(width // REDUCTION, width))

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Adapt tokens (B*T, L, D), each by itself."""
        return x + self.up(F.gelu(self.down(x)))


class Temporal(nn.Module):
    """``x + s * W_up GELU(GRU(W_down n))`` with ``n = LayerNorm(x)`` and ``s = ReLU(w n + b)``: the TDA.

    The GRU lets a token see the same token of the frames before it: the corner of the mouth follows the corner of the mouth.
    The scale s is a number per token; where it is 0, the token stays as CLIP made it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.scale = nn.Linear(width, 1)
        self.down = nn.Linear(width, width // REDUCTION)
        self.rnn = nn.GRU(width // REDUCTION, width // REDUCTION, batch_first=True)
        self.up = zero(nn.Linear(width // REDUCTION, width))

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Adapt tokens (B*T, L, D) along the T frames of their clip."""
        normed = self.norm(x)
        tokens = x.shape[1]
        # One sequence per clip and token position. The released program runs the GRU over all clips of a batch instead,
        # which makes the result of a clip depend on its neighbours.
        sequences = rearrange(self.down(normed), "(b t) l d -> (b l) t d", t=frames)
        hidden, _ = self.rnn(sequences)
        hidden = rearrange(hidden, "(b l) t d -> (b t) l d", l=tokens)
        return x + F.relu(self.scale(normed)) * self.up(F.gelu(hidden))


class Prompts(nn.Module):
    """P learnable text tokens per depth, and the linear map that makes the vision tokens of that depth from them.

    The map couples the towers: a gradient from the frames also moves the prompts of the texts.
    """

    def __init__(self, text_width: int, vision_width: int, depth: int, length: int = 2) -> None:
        super().__init__()
        self.tokens = nn.ParameterList(torch.randn(length, text_width) * 0.02 for _ in range(depth))
        self.project = nn.ModuleList(nn.Linear(text_width, vision_width) for _ in range(depth))

    def text(self, depth: int) -> Tensor:
        """Return the text prompts of a depth, (P, text width)."""
        return self.tokens[depth]

    def vision(self, depth: int) -> Tensor:
        """Return the vision prompts of a depth, (P, vision width)."""
        return self.project[depth](self.tokens[depth])


class PlainPEClip(nn.Module):
    """A frozen CLIP with adapters and prompts put in by hooks.

    Args:
        clip: the CLIP; it is frozen.
        token_ids: (C, L) of the class texts: start token, P placeholders, the text, end of text, which has the largest id.
        depth: how many blocks get prompts of their own.
    """

    token_ids: Tensor

    def __init__(self, clip: CLIPModel, token_ids: Tensor, depth: int = 9) -> None:
        super().__init__()
        self.clip = clip.requires_grad_(False).eval()
        self.register_buffer("token_ids", token_ids)
        vision, text = clip.vision_model, clip.text_model
        self.adapters = nn.ModuleDict(
            {
                "vision": nn.ModuleDict(
                    {"attention": per_block(Bottleneck, vision), "mlp": per_block(Temporal, vision)}
                ),
                "text": nn.ModuleDict({"attention": per_block(Bottleneck, text), "mlp": per_block(Bottleneck, text)}),
            }
        )
        self.prompts = Prompts(text.config.hidden_size, vision.config.hidden_size, depth)
        self.frames = 1
        self._insert_adapters()
        self._insert_prompts(depth)

    def forward(self, video: Tensor) -> Tensor:
        """Return logits (B, C) of normalised clips (B, T, 3, H, W)."""
        self.frames = video.shape[1]  # the hook of the temporal adapter needs it
        return LOGIT_SCALE * self.encode_video(video) @ self.encode_text().T

    def encode_video(self, video: Tensor) -> Tensor:
        """Return clip features (B, D): the mean over the frames of the projected class token, L2-normalised."""
        frames = self.clip.vision_model(pixel_values=rearrange(video, "b t c h w -> (b t) c h w")).pooler_output
        features = rearrange(self.clip.visual_projection(frames), "(b t) d -> b t d", t=video.shape[1])
        return F.normalize(features.mean(dim=1), dim=-1)

    def encode_text(self) -> Tensor:
        """Return class features (C, D): the projected end-of-text token of each class text, L2-normalised."""
        hidden = self.clip.text_model(input_ids=self.token_ids).last_hidden_state
        ends = hidden[torch.arange(len(hidden), device=hidden.device), self.token_ids.argmax(dim=1)]
        return F.normalize(self.clip.text_projection(ends), dim=-1)

    def _insert_adapters(self) -> None:
        """Adapt what attention and MLP put out; the block then adds it to the residual stream, as it always does."""
        for name, tower in (("vision", self.clip.vision_model), ("text", self.clip.text_model)):
            for number, block in enumerate(tower.encoder.layers):
                block.self_attn.register_forward_hook(self._adapt_with(self.adapters[name]["attention"][str(number)]))
                block.mlp.register_forward_hook(self._adapt_with(self.adapters[name]["mlp"][str(number)]))

    def _adapt_with(self, adapter: nn.Module) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, out: Any) -> Any:
            if isinstance(out, tuple):  # attention returns its weights as well
                return adapter(out[0], self.frames), *out[1:]
            return adapter(out, self.frames)

        return hook

    def _insert_prompts(self, depth: int) -> None:
        """Let prompts enter with the embeddings, and replace them before each of the next blocks."""
        vision, text = self.clip.vision_model, self.clip.text_model
        # Vision prompts follow the patches and get no position; text prompts take the place of the placeholders, whose
        # positions are added afterwards.
        vision.embeddings.register_forward_hook(lambda module, args, out: append(out, self.prompts.vision(0)))
        text.embeddings.token_embedding.register_forward_hook(
            lambda module, args, out: after_start(out, self.prompts.text(0))
        )
        for i in range(1, depth):
            vision.encoder.layers[i].register_forward_pre_hook(self._replace_vision(i))
            text.encoder.layers[i].register_forward_pre_hook(self._replace_text(i))

    def _replace_vision(self, depth: int) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any) -> Any:
            prompts = self.prompts.vision(depth)
            return append(args[0][:, : -len(prompts)], prompts), *args[1:]

        return hook

    def _replace_text(self, depth: int) -> Callable[..., Any]:
        return lambda module, args: (after_start(args[0], self.prompts.text(depth)), *args[1:])


def zero(layer: nn.Linear) -> nn.Linear:
    """Set a layer to zero: an adapter that ends in it is the identity, so training starts from CLIP as it is."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def per_block(adapter: type[nn.Module], tower: nn.Module) -> nn.ModuleDict:
    """Return an adapter for each block of a tower, by the number of the block."""
    return nn.ModuleDict({str(i): adapter(tower.config.hidden_size) for i in range(len(tower.encoder.layers))})


def append(x: Tensor, prompts: Tensor) -> Tensor:
    """Put prompts (P, D) behind the tokens (N, L, D) of each of N frames."""
    return torch.cat([x, repeat(prompts.to(x.dtype), "p d -> n p d", n=len(x))], dim=1)


def after_start(x: Tensor, prompts: Tensor) -> Tensor:
    """Put prompts (P, D) in the place of the P tokens that follow the start token, in texts (C, L, D)."""
    inserted = repeat(prompts.to(x.dtype), "p d -> c p d", c=len(x))
    return torch.cat([x[:, :1], inserted, x[:, 1 + len(prompts) :]], dim=1)


def random_clip(width: int, text_width: int, blocks: int, side: int) -> CLIPModel:
    """Return a CLIP with random weights; its patches have 16 pixels a side."""
    vision = {"hidden_size": width, "intermediate_size": 4 * width, "image_size": side, "patch_size": 16}
    text = {"hidden_size": text_width, "intermediate_size": 4 * text_width}
    size = {"num_hidden_layers": blocks, "num_attention_heads": max(1, text_width // 64)}
    config = CLIPConfig(
        vision_config=vision | size | {"num_attention_heads": max(1, width // 64)},
        text_config=text | size,
        projection_dim=text_width,
    )
    return CLIPModel(config)


def main() -> None:
    """Run a small model, and count the parameters of the paper's."""
    classes, length, end = 7, 12, 49407
    token_ids = torch.randint(1000, (classes, length))  # in place of the tokenised texts
    token_ids[:, -1] = end
    net = PlainPEClip(random_clip(width=64, text_width=64, blocks=2, side=32), token_ids, depth=2)
    video = torch.randn(2, 16, 3, 32, 32)
    print("video  B, T, 3, H, W ", tuple(video.shape))
    print("clip features  B, D  ", tuple(net.encode_video(video).shape))
    print("class features C, D  ", tuple(net.encode_text().shape))
    print("logits         B, C  ", tuple(net(video).shape))
    with torch.device("meta"):  # shapes without numbers
        net = PlainPEClip(random_clip(width=768, text_width=512, blocks=12, side=224), token_ids.to("meta"))
    trained = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in net.parameters())
    print(f"with ViT-B/16 {trained:,} of {total:,} parameters are trained ({trained / total:.2%})")


if __name__ == "__main__":
    main()
