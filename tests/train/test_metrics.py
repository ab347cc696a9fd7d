import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes
from torch.nn import functional as F

from peclip.data.forking import METHOD, main_module_hidden, start_server
from peclip.errors import InputError
from peclip.results.scores import recalls, scores, uar, war
from peclip.train.metrics import AllLogits, ClassMetrics, MeanLoss, selection_score

LABELS = ("happiness", "sadness", "fear")

# Truth in rows. By hand: 3 of 4 happy, 1 of 2 sad, 0 of 1 fearful clips are right.
# WAR = (3 + 1 + 0) / 7; UAR = (3/4 + 1/2 + 0/1) / 3 = 1.25 / 3.
HAND = np.array([[3, 1, 0], [0, 1, 1], [1, 0, 0]])
TRUTH = [0, 0, 0, 0, 1, 1, 2]
PREDICTED = [0, 0, 0, 1, 1, 2, 0]


def logits(predicted):
    return torch.nn.functional.one_hot(torch.tensor(predicted), 3) * 5.0 - 1


def test_war_and_uar_of_a_matrix_worked_out_by_hand():
    assert war(HAND) == pytest.approx(4 / 7)
    assert uar(HAND) == pytest.approx(1.25 / 3)
    assert recalls(HAND).tolist() == [0.75, 0.5, 0.0]


def test_uar_is_over_the_classes_that_occur():
    absent = np.array([[3, 0, 1], [0, 0, 0], [0, 1, 1]])
    assert uar(absent) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert war(absent) == pytest.approx(4 / 6)
    assert scores(absent, LABELS).per_class_recall == {"happiness": 0.75, "sadness": None, "fear": 0.5}


def test_a_class_that_is_never_right_counts_as_zero():
    assert uar(np.array([[2, 0], [2, 0]])) == 0.5


def test_counting_logits_over_batches_gives_the_matrix():
    metrics = ClassMetrics(LABELS)
    for piece in (slice(0, 3), slice(3, 4), slice(4, 7)):
        metrics.update(logits(PREDICTED)[piece], torch.tensor(TRUTH)[piece])
    result = metrics.scores()
    assert result.confusion.tolist() == HAND.tolist()
    assert result.confusion.dtype == np.int64
    assert result.clips == 7
    assert result.war == pytest.approx(4 / 7)
    assert result.uar == pytest.approx(1.25 / 3)
    assert result.per_class_recall == {"happiness": 0.75, "sadness": 0.5, "fear": 0.0}
    assert list(result.per_class_recall) == list(LABELS)


def test_class_indices_count_like_logits():
    metrics = ClassMetrics(LABELS)
    metrics.update(torch.tensor(PREDICTED), torch.tensor(TRUTH))
    assert metrics.scores().confusion.tolist() == HAND.tolist()


def test_low_precision_logits_count_like_full_ones():
    metrics = ClassMetrics(LABELS)
    metrics.update(logits(PREDICTED).bfloat16(), torch.tensor(TRUTH))
    assert metrics.scores().confusion.tolist() == HAND.tolist()


def test_reset_forgets():
    metrics = ClassMetrics(LABELS)
    metrics.update(torch.tensor([0, 1]), torch.tensor([1, 0]))
    metrics.scores()
    metrics.reset()
    metrics.update(torch.tensor([2]), torch.tensor([2]))
    assert (metrics.scores().clips, metrics.scores().war) == (1, 1.0)


def test_counts_are_not_part_of_a_checkpoint():
    assert ClassMetrics(LABELS).state_dict() == {}


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_an_empty_evaluation_is_refused():
    with pytest.raises(InputError, match="no clip was evaluated"):
        ClassMetrics(LABELS).scores()
    with pytest.raises(InputError, match="no clip was evaluated"):
        uar(np.zeros((3, 3), dtype=int))
    with pytest.raises(InputError, match="no clip was evaluated"):
        war(np.zeros((3, 3), dtype=int))


def test_one_class_is_refused_by_name():
    with pytest.raises(InputError, match="happiness"):
        ClassMetrics(["happiness"])


def test_a_label_of_minus_one_does_not_count():
    metrics, loss = ClassMetrics(LABELS), MeanLoss()
    for truth in ([0, -1, 1], [-1, -1, -1]):
        metrics.update(logits([0, 1, 2]), torch.tensor(truth))
        loss.update(logits([0, 1, 2]), torch.tensor(truth))
    assert metrics.scores().confusion.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    expected = F.cross_entropy(logits([0, 2]), torch.tensor([0, 1]))
    assert loss.compute() == pytest.approx(float(expected))


def test_the_mean_loss_does_not_depend_on_the_order_of_the_clips():
    predicted, truth = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), torch.arange(500) % 3
    found = set()
    for parts in (torch.arange(500).split(7), torch.arange(500).flip(0).split(64)):
        loss = MeanLoss()
        for part in parts:
            loss.update(predicted[part], truth[part])
        found.add(loss.compute())
    (mean,) = found
    assert mean == pytest.approx(float(F.cross_entropy(predicted, truth)))


def test_logits_come_in_the_order_of_the_clips_without_those_that_do_not_count():
    kept = AllLogits()
    kept.update(torch.tensor([4, -1, 1]), logits([0, 1, 2]), torch.tensor([0, -1, 1]))
    kept.update(torch.tensor([3, 2]), torch.tensor([[1.0, 0, 2], [float("nan"), 0, 1]]), torch.tensor([2, 2]))
    found, truth = kept.compute()
    assert found.tolist() == [*logits([2]).tolist(), [1, 0, 2], *logits([0]).tolist()]
    assert truth.tolist() == [1, 2, 0]


def evaluate_share(rank, shares, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=len(shares))
    metrics, kept = ClassMetrics(LABELS), AllLogits()
    if shares[rank]:
        metrics.update(logits(PREDICTED)[shares[rank]], torch.tensor(TRUTH)[shares[rank]])
    clips = torch.tensor(shares[rank] or [-1])  # a dummy clip where there is no other
    kept.update(clips, logits(PREDICTED)[clips], torch.where(clips < 0, -1, torch.tensor(TRUTH)[clips]))
    (folder / str(rank)).write_text(str(metrics.scores().confusion.tolist()))
    (folder / f"logits-{rank}").write_text(str([each.tolist() for each in kept.compute()]))
    dist.destroy_process_group()


def test_processes_with_uneven_shares_all_get_the_matrix_of_all_clips(tmp_path):
    shares = [[0, 2, 4, 6], [1, 3, 5], []]
    start_server()
    with main_module_hidden():
        start_processes(evaluate_share, args=(shares, tmp_path), nprocs=len(shares), start_method=METHOD)
    assert [(tmp_path / str(rank)).read_text() for rank in range(3)] == [str(HAND.tolist())] * 3
    every = str([logits(PREDICTED).tolist(), TRUTH])
    assert [(tmp_path / f"logits-{rank}").read_text() for rank in range(3)] == [every] * 3


def test_a_lower_loss_decides_between_equal_wars_and_never_outweighs_a_clip():
    clips, correct = 2_000_000, 1_700_001
    worst = selection_score(correct / clips, 1e6)
    assert selection_score((correct - 1) / clips, 0.0) < worst
    assert worst < selection_score(correct / clips, 1.2) < selection_score(correct / clips, 1.2 - 1e-6)
