"""Devices by name: those of this machine, or one line that lists them."""

import pytest
import torch

from peclip.errors import InputError
from peclip.model.device import find_device


@pytest.mark.parametrize("name", ["meta", "abacus", "cuda:99"])
def test_a_device_that_is_absent_or_computes_nothing_is_refused(name):
    with pytest.raises(
        InputError, match=f"device is '{name}', expected auto or a device of this machine: cpu"
    ) as refused:
        find_device(name)
    assert refused.value.arguments == ("device",)


def test_a_gpu_that_cannot_be_used_is_refused_with_the_reason(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", fails)
    for name, found in (("auto", "cuda"), ("cuda:1", "cuda:1")):
        with pytest.raises(InputError, match=f"device {found} cannot be used: CUDA error: out of memory"):
            find_device(name)
    with pytest.raises(InputError, match="device is 'cuda:7', expected auto or a device of this machine: cpu, cuda:0"):
        find_device("cuda:7")


def test_a_device_that_the_caller_does_not_support_is_refused():
    with pytest.raises(InputError, match="device is 'cpu'"):
        find_device("cpu", kinds=("cuda",))


def test_auto_is_a_gpu_with_its_number_where_there_is_one_else_the_cpu():
    expected = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    assert find_device("auto") == expected
