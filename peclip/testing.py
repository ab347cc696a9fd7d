"""Contract tests for custom adapters and temporal heads: the same that peclip's own pass.

An adapter and its test, in any package that can be imported::

    import torch
    from peclip.model import Adapter
    from peclip.testing import check_adapter


    class Gate(Adapter):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.gate = torch.nn.Parameter(torch.zeros(width))

        def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
            return x * (1 + self.gate)


    def test_gate() -> None:
        check_adapter(Gate)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from peclip.errors import InputError, first_line, shown
from peclip.model import PEClip
from peclip.model.backbones.clip import CLIP
from peclip.model.backbones.freeze import freeze
from peclip.model.modules import TemporalFactory
from peclip.model.parts.adapters import Adapter, AdapterFactory, Place, is_token_wise
from peclip.model.parts.temporal import MeanPool

__all__ = ("check_adapter", "check_temporal_head")

SIDE, CLASSES, BLOCKS = 32, 3, 2
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": BLOCKS, "num_attention_heads": 2}
VOCABULARY, FEATURES = 100, 24
TOKENS = 1 + (SIDE // 16) ** 2


def check_adapter(
    factory: AdapterFactory, site: str = "vision.mlp", identity: bool = True, independent: bool = True
) -> None:
    """Check that an adapter keeps the contract of adapters, inside a small CLIP with random weights, in about a second.

    The contract: the shape of the tokens is kept; the adapter starts as the identity; a gradient reaches each of its
    parameters and none of the backbone; the result of a clip does not depend on the other clips of its batch; T may change
    from batch to batch; one that states ``token_wise`` is; saved weights and the import path restore it; removing it restores
    the bare backbone exactly.

    Args:
        factory: the class, or ``functools.partial`` of it with arguments; called with the width of the tokens.
        site: site of the adapter, see :class:`peclip.model.PEClip`.
        identity: whether it must start as the identity; False for adapters that deliberately do not.
        independent: whether a clip's result must not depend on the other clips of its batch; False for adapters that
            deliberately mix clips.

    Raises:
        AssertionError: it breaks the contract; the message is one sentence.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        name = _name(factory)
        with _one_sentence(f"{name} cannot be put into a model"):
            net = _model({site: factory})
        bare = _logits(net, _clips(2, 3), bare=True)
        place = net.backbone.towers[site.partition(".")[0]].place(0)
        _check_shape(name, factory, place)
        with _one_sentence(f"{name} fails in a model"):
            _check_tokens(name, factory, place)
            _check_start(name, net, bare, identity)
            _check_model(name, net, net.adapters, bare, independent)


def check_temporal_head(factory: TemporalFactory, mean: bool = True) -> None:
    """Check that a temporal head keeps the contract of heads, on a small CLIP with random weights, in about a second.

    The contract: it makes one feature of D channels of those of T frames; it starts as the mean over the frames; and as for
    adapters, see :func:`check_adapter`.

    Args:
        factory: the class, or ``functools.partial`` of it with arguments; called with the width of the features.
        mean: whether it must start as the mean over the frames; False for heads that deliberately do not.

    Raises:
        AssertionError: it breaks the contract; the message is one sentence.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        name = _name(factory)
        with _one_sentence(f"{name} cannot be put into a model"):
            net = _model({}, factory)
        for clips, frames in ((2, 3), (1, 1)):
            x = torch.randn(clips, frames, FEATURES)
            shape = _shape_of(name, "features", x, partial(factory(FEATURES), x))
            _require(
                shape == (clips, FEATURES),
                f"{name} returns shape {shape} for ({clips}, {frames}, {FEATURES}), expected ({clips}, {FEATURES})",
            )
        bare = _logits(net, _clips(2, 3), bare=True)
        with _one_sentence(f"{name} fails in a model"):
            _require(
                not mean or torch.allclose(_logits(net, _clips(2, 3)), bare, atol=1e-3),
                f"{name} is not the mean over the frames at the start: initialise its last layer with zeros, or pass mean=False",
            )
            _check_model(name, net, net.temporal, bare, independent=True)


@contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    """Raise any error of a part, which may be of any kind, as a broken contract in one sentence."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{what}: {first_line(error)}") from error


def _check_model(name: str, net: PEClip, part: nn.Module, bare: Tensor, independent: bool) -> None:
    """Check a model whose only trainable part is this one."""
    _check_gradients(name, net, part)
    _perturb(part)
    _check_gradient_values(name, net, part)
    _check_batches(name, net, independent)
    _check_saving(name, net)
    _require(
        torch.equal(_logits(net, _clips(2, 3), bare=True), bare),
        f"{name} changes the bare backbone: after its removal the logits differ from those before",
    )


def _name(factory: Any) -> str:
    return str(getattr(getattr(factory, "func", factory), "__name__", shown(factory)))


def _shape_of(name: str, kind: str, x: Tensor, forward: Callable[[], Any]) -> tuple[int, ...]:
    """Return the shape of the output of a part, which must be a tensor with the precision of its input.

    Raises:
        AssertionError: the part fails, or returns something else.
    """
    try:
        found = forward()
    except Exception as error:
        raise AssertionError(
            f"{name}: forward fails with {kind} of shape {tuple(x.shape)}: {first_line(error)}"
        ) from error
    _require(isinstance(found, Tensor), f"{name} returns {type(found).__name__}, expected a tensor")
    _require(
        found.dtype == x.dtype,
        f"{name} returns {kind} of {found.dtype} for those of {x.dtype}: the precision must be kept",
    )
    return tuple(found.shape)


def _check_shape(name: str, factory: AdapterFactory, place: Place) -> None:
    adapter = factory(TOWER["hidden_size"])
    few = () if adapter.needs_place else ((1, 1, 1), (1, 4, 2))  # less than the number of tokens of a frame
    for clips, frames, tokens in ((2, 3, TOKENS), *few):
        x = torch.randn(clips * frames, tokens, TOWER["hidden_size"])
        shape = _shape_of(name, "tokens", x, partial(_call, adapter, x, frames, place))
        _require(
            shape == x.shape, f"{name} returns tokens of shape {shape} for {tuple(x.shape)}: the shape must be kept"
        )


def _check_tokens(name: str, factory: AdapterFactory, place: Place) -> None:
    adapter = factory(TOWER["hidden_size"])
    if not is_token_wise(adapter):
        return
    _perturb(adapter)
    x = torch.randn(6, TOKENS, TOWER["hidden_size"])
    with torch.no_grad():
        among = _call(adapter, x, 3, place)
        alone = torch.cat([_call(adapter, token, 3, place) for token in x.split(1, dim=1)], dim=1)
    _require(
        torch.allclose(alone, among, atol=1e-4),
        f"{name} states token_wise, but a token gets another result among others than alone: remove it",
    )


def _check_start(name: str, net: PEClip, bare: Tensor, identity: bool) -> None:
    start = _logits(net, _clips(2, 3))
    _require(
        not identity or torch.equal(start, bare),
        f"{name} is not the identity at the start: initialise its last layer with zeros, or pass identity=False",
    )


def _check_gradients(name: str, net: PEClip, part: nn.Module) -> None:
    parameters = dict(part.named_parameters())
    _require(bool(parameters), f"{name} has no parameters: there is nothing to train")
    net(_clips(2, 3)).square().sum().backward()
    missing = [key for key, weight in parameters.items() if weight.grad is None]
    _require(not missing, f"{name}: no gradient reaches {missing[:1]}: every parameter must be used in forward")
    touched = [key for key, weight in net.clip.named_parameters() if weight.requires_grad or weight.grad is not None]
    _require(not touched, f"{name} makes the frozen backbone trainable: {touched[:1]}")


def _check_gradient_values(name: str, net: PEClip, part: nn.Module) -> None:
    net.zero_grad()
    net(_clips(2, 3)).square().sum().backward()
    alive: dict[str, bool] = {}
    for key, weight in part.named_parameters():
        parameter = ".".join(key.split(".")[3:]) if part is net.adapters else key  # name without tower, part and block
        alive[parameter] = alive.get(parameter, False) or bool(weight.grad is not None and weight.grad.abs().max() > 0)
    dead = [parameter for parameter, learns in alive.items() if not learns]
    _require(not dead, f"{name}: the gradient of {dead[:1]} is zero even with random weights: it cannot learn")


def _check_batches(name: str, net: PEClip, independent: bool) -> None:
    video = _clips(3, 4)
    together = _logits(net, video)
    alone = torch.cat([_logits(net, clip[None]) for clip in video])
    _require(
        not independent or torch.allclose(together, alone, atol=1e-3),
        f"{name}: a clip gets other logits in a batch than alone (difference {(together - alone).abs().max():.1e} of 100): "
        "use frames, the T of a clip, to separate the clips, or pass independent=False",
    )
    for frames in (1, 2, 7):
        _logits(net, _clips(2, frames))
    _require(
        torch.equal(_logits(net, video), together),
        f"{name} returns other logits for the same clips after batches with another number of frames: it must keep no state",
    )


def _check_saving(name: str, net: PEClip) -> None:
    video, trained = _clips(2, 3), net.to_trained()
    try:
        with net.bare():  # a copy of the backbone without its hooks
            again = PEClip.from_trained(replace(trained, backbone=net.backbone))
    except InputError as error:
        raise AssertionError(f"{name} cannot be built from what a checkpoint stores: {error}") from error
    _require(
        torch.equal(_logits(again, video), _logits(net, video)),
        f"{name} returns other logits after saving and loading: keep what it learns in parameters or buffers",
    )


def _model(adapters: dict[str, AdapterFactory], temporal: TemporalFactory = MeanPool) -> PEClip:
    vision = {**TOWER, "image_size": SIDE, "patch_size": 16}
    ends = {"bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1, "pad_token_id": VOCABULARY - 1}
    text = {**TOWER, **ends, "vocab_size": VOCABULARY}
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=FEATURES)
    backbone = CLIP("a small CLIP with random weights", freeze(CLIPModel(config)))
    ids = torch.randint(VOCABULARY - 1, (CLASSES, 6))
    ids[:, -1] = VOCABULARY - 1
    labels = [f"class {number}" for number in range(CLASSES)]
    return PEClip.assemble(backbone, ids, labels, adapters, None, temporal=temporal).eval()


def _call(adapter: Adapter, x: Tensor, frames: int, place: Place) -> Tensor:
    """Call an adapter by itself, with the facts about its site that it accepts."""
    entering = (x.flip(-1),) if adapter.takes == "both" else ()
    adapted: Tensor = adapter(x, frames, *entering, *((place,) if adapter.needs_place else ()))
    return adapted


def _perturb(part: nn.Module) -> None:
    """Give every parameter of a part another value, so that it is not the identity."""
    with torch.no_grad():
        for weight in part.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.3)


def _clips(count: int, frames: int) -> Tensor:
    return torch.randn(count, frames, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(frames))


def _logits(net: PEClip, video: Tensor, bare: bool = False) -> Tensor:
    with torch.no_grad():
        if not bare:
            return net(video)
        with net.bare():
            return net(video)


def _require(fulfilled: bool, message: str) -> None:
    if not fulfilled:
        raise AssertionError(message)
