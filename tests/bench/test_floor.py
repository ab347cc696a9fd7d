"""The floor of a step: what its products, attention and memory take at the rates of the device."""

import pytest
import torch
from torch.nn import functional as F

from peclip.bench import measure
from peclip.bench.floor import Counter, Work, floor_of, memory_rate


def test_products_attention_and_what_they_move_are_counted_forward_and_backward():
    x, weight = torch.empty(5, 7, device="meta"), torch.empty(3, 7, device="meta", requires_grad=True)
    with Counter() as counter:
        F.linear(x, weight).sum().backward()  # the input needs no gradient
    assert counter.work == Work(products=2 * 2 * 5 * 7 * 3, attention=0, elements=2 * (5 * 7 + 7 * 3 + 5 * 3))


def test_attention_is_counted_by_itself_whether_fused_or_as_products_of_batches():
    query, key, value = (torch.empty(2, 4, 6, 8, device="meta") for _ in range(3))
    with Counter() as fused:
        F.scaled_dot_product_attention(query, key, value)
    with Counter() as plain:
        (query.flatten(0, 1) @ key.flatten(0, 1).mT) @ value.flatten(0, 1)
    assert fused.work.attention == plain.work.attention == 2 * 2 * (2 * 4) * 6 * 6 * 8
    assert fused.work.products == plain.work.products == 0


def test_nothing_else_is_counted_nor_anything_after_the_counter():
    with Counter() as counter:
        F.layer_norm(torch.ones(4, 8), (8,)).exp().sum()
    torch.ones(4, 4) @ torch.ones(4, 4)
    assert counter.work == Work(0, 0, 0)


@pytest.mark.parametrize(("elements", "step"), [(1_000, 3.0), (4_000, 8.0)])
def test_memory_is_moved_while_the_device_multiplies(elements, step):
    floor = floor_of(Work(products=200, attention=100, elements=elements), matmul=100, memory=1_000, size=2)
    assert (floor.products, floor.attention, floor.traffic) == (2.0, 1.0, elements * 2 / 1_000)
    assert floor.step == step


def test_the_rate_of_memory_is_that_of_a_copy(monkeypatch):
    monkeypatch.setattr(measure, "SECONDS", 0.01)
    assert 1e8 < memory_rate(torch.device("cpu")) < 1e13


def test_attention_does_not_move_the_weights_of_tokens_for_tokens():
    """A fused kernel keeps them; what it must move are queries, keys, values and results, and their gradients."""
    query, key, value = (torch.empty(2, 199, 64, device="meta", requires_grad=True) for _ in range(3))
    with Counter() as counter:
        F.scaled_dot_product_attention(query, key, value)
    assert counter.work.elements == 4 * query.numel()
