"""GRU that torch.compile can include in its graph."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GRU(nn.Module):
    """``nn.GRU`` of one layer, batch first: the same parameters, names, initialisation and values.

    ``nn.GRU`` breaks the graph of torch.compile, which would cut every block in two; when compiled, the recurrence is
    unrolled step by step. Otherwise torch's own kernel runs.

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
        if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
            return self._unrolled(x)
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)
        return torch.gru(x, x.new_zeros(1, len(x), self.hidden_size), weights, True, 1, 0.0, self.training, False, True)

    def _unrolled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        entering = F.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        hidden, every = entering.new_zeros(len(x), self.hidden_size), []
        for now in entering.unbind(1):
            reset_in, update_in, new_in = now.chunk(3, -1)
            reset, update, new = F.linear(hidden, self.weight_hh_l0, self.bias_hh_l0).chunk(3, -1)
            update = torch.sigmoid(update_in + update)
            candidate = torch.tanh(new_in + torch.sigmoid(reset_in + reset) * new)
            hidden = candidate + update * (hidden - candidate)
            every.append(hidden)
        return torch.stack(every, 1), hidden[None]
