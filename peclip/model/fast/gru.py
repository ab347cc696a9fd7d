"""GRU that torch.compile can include in its graph."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# cuDNN copies the weights of a GRU that do not follow each other in memory at every call; these are small.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")


class GRU(nn.Module):
    """``nn.GRU`` of one layer, batch first: the same parameters, names, initialisation and values.

    ``nn.GRU`` breaks the graph of torch.compile, which would cut every block in two; when compiled, the recurrence is
    unrolled step by step, with a gradient of its own. Otherwise torch's own kernel runs.

    Args:
        width: R, width of the input and of the hidden state.
    """

    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden_size = width
        for name, weight in nn.GRU(width, width).named_parameters():
            self.register_parameter(name, weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run over the frames, starting from a hidden state of zeros.

        Args:
            x: sequences (N, T, R).

        Returns:
            The hidden state after each frame, (N, T, R), and the last one, (1, N, R).
        """
        if torch.compiler.is_dynamo_compiling():  # an export is no matter of dynamo, and keeps torch's own operator
            hidden = self.unrolled(x)
            return hidden, hidden[:, -1][None]
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)
        # cuDNN gives a gradient only to calls that are marked as training; without dropout, nothing else depends on it.
        trains = torch.is_grad_enabled()
        # len() would be a constant in an exported graph
        return torch.gru(x, x.new_zeros(1, x.shape[0], self.hidden_size), weights, True, 1, 0.0, trains, False, True)

    def unrolled(self, x: Tensor) -> Tensor:
        """Run step by step over the second dimension of sequences, (N, T, R) or (B, T, L, R), without moving another one."""
        entering = F.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        return Unrolled.apply(entering, self.weight_hh_l0, self.bias_hh_l0)


class Unrolled(torch.autograd.Function):
    """The recurrence of a GRU; the gradient of its weight is one product over all steps instead of one a step."""

    @staticmethod
    def forward(ctx: Any, entering: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the hidden states (B, T, ..., R).

        Args:
            ctx: context of autograd.
            entering: the input's part of the three gates, (B, T, ..., 3R).
            weight: weight of the hidden state's part, (3R, R).
            bias: bias of the hidden state's part, (3R,).
        """
        narrow, add = weight.to(entering.dtype), bias.to(entering.dtype)  # once, not at every step
        hidden: Tensor | None = None
        steps: list[tuple[Tensor, ...]] = []
        for now in entering.unbind(1):
            reset_in, update_in, new_in = now.chunk(3, -1)
            gates = add.expand_as(now) if hidden is None else F.linear(hidden, narrow, add)
            reset_of, update_of, new_of = gates.chunk(3, -1)
            reset, update = torch.sigmoid(reset_in + reset_of), torch.sigmoid(update_in + update_of)
            candidate = torch.tanh(new_in + reset * new_of)
            hidden = candidate * (1 - update) if hidden is None else candidate + update * (hidden - candidate)
            steps.append((hidden, reset, update, candidate, new_of))
        every, *gates_of = (torch.stack(tensors, 1) for tensors in zip(*steps, strict=True))
        ctx.save_for_backward(weight, every, *gates_of)
        return every

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of the entering part, the weight and the bias."""
        weight, every, resets, updates, candidates, news = ctx.saved_tensors
        narrow = weight.to(every.dtype)
        into, out_of, later = [], [], None
        for step in reversed(range(every.shape[1])):
            reset, update, candidate, new_of = (gate[:, step] for gate in (resets, updates, candidates, news))
            of_hidden = grad[:, step] if later is None else grad[:, step] + later
            before = every[:, step - 1] - candidate if step else -candidate
            of_update = of_hidden * before * update * (1 - update)
            of_candidate = of_hidden * (1 - update) * (1 - candidate * candidate)
            of_reset = of_candidate * new_of * reset * (1 - reset)
            into.append(torch.cat([of_reset, of_update, of_candidate], -1))
            out_of.append(torch.cat([of_reset, of_update, of_candidate * reset], -1))
            later = of_hidden * update + out_of[-1] @ narrow
        entering, gates = (torch.stack(tensors[::-1], 1) for tensors in (into, out_of))
        of_weight = gates[:, 1:].flatten(0, -2).mT @ every[:, :-1].flatten(0, -2)  # the first step starts from zeros
        return entering, of_weight.to(weight.dtype), gates.flatten(0, -2).sum(0, dtype=weight.dtype)
