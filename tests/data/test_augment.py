import math
import re
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from peclip.clip_format import CLIP_MEAN, CLIP_STD, UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.data.augment import Augment, Mix, augment, mix, normalize
from peclip.errors import InputError

NOTHING = Augment(area=(1, 1), flip=0)
ALL = Augment(rotation=10, brightness=0.5)

RAW = ClipFormat(mean=UNIT_MEAN, std=UNIT_STD)


def noise(clips=2, frames=3, height=32, width=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (clips, frames, 3, height, width), dtype=torch.uint8, generator=generator)


def ramps(clips, size, frames=1):
    """Clips whose red is each pixel's x and whose green is its y, so that the result tells where it was read."""
    video = torch.zeros(clips, frames, 3, size, size, dtype=torch.uint8)
    video[:, :, 0] = torch.arange(size, dtype=torch.uint8)
    video[:, :, 1] = torch.arange(size, dtype=torch.uint8)[:, None]
    return video


def run(video, settings, *, clips=None, seed=0, epoch=0, size=None):
    clips = range(len(video)) if clips is None else clips
    return augment(video, list(clips), settings, seed=seed, epoch=epoch, size=size or video.shape[-1])


def boxes(settings, *, clips=300, size=64):
    """Left, top, right and bottom edge of the crop of each clip, in pixels of a square frame."""
    first, last = (run(ramps(clips, size), settings)[:, 0, :2, i, i] * 255 for i in (0, -1))
    # The outermost pixels read the crop's outermost pixel centres exactly, because crops are only ever enlarged.
    return torch.cat([first - 0.5, last + 0.5], dim=1) + 0.5


@pytest.mark.parametrize(("mean", "std"), [(CLIP_MEAN, CLIP_STD), ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))])
def test_normalize_uses_the_mean_and_deviation_of_the_format(mean, std):
    video = noise()
    expected = (video.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    normal = normalize(video, ClipFormat(mean=mean, std=std))
    torch.testing.assert_close(normal.double(), expected, atol=1e-5, rtol=0)


def test_normalize_with_mean_0_and_deviation_1_keeps_pixels_between_0_and_1():
    video = noise()
    torch.testing.assert_close(normalize(video, RAW), video / 255)


@pytest.mark.parametrize("clip_format", [ClipFormat(), RAW])
def test_normalize_takes_floats_in_0_to_1_and_does_not_change_them(clip_format):
    video = noise()
    pixels = video / 255
    torch.testing.assert_close(normalize(pixels, clip_format), normalize(video, clip_format), atol=1e-6, rtol=0)
    assert torch.equal(pixels, video / 255)


def test_settings_that_do_nothing_return_the_input():
    video = noise()
    before = video.clone()
    torch.testing.assert_close(run(video, NOTHING), video / 255, atol=1e-6, rtol=0)
    assert torch.equal(video, before)


def test_settings_that_do_nothing_do_not_resample(monkeypatch):
    monkeypatch.setattr(F, "grid_sample", lambda *_, **__: pytest.fail("resampled"))
    run(noise(), Augment(area=(1, 1), flip=0, brightness=0.5))


def test_everything_at_once_is_one_resample(monkeypatch):
    calls = []
    original = F.grid_sample
    monkeypatch.setattr(F, "grid_sample", lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs))
    run(noise(), ALL, size=24)
    assert len(calls) == 1


def test_flip_alone_mirrors_the_frames_and_changes_no_pixel():
    video = noise()
    assert torch.equal(run(video, Augment(area=(1, 1), flip=1)), (video / 255).flip(-1))


def test_resizing_alone_equals_interpolate():
    video = noise(height=20, width=30)
    expected = F.interpolate((video / 255).flatten(0, 1), size=(48, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(run(video, NOTHING, size=48).flatten(0, 1), expected, atol=1e-4, rtol=0)


def test_crop_equals_interpolate_of_the_crop_pixel_for_pixel():
    size = 40
    settings = Augment(flip=0)
    left, top, right, bottom = (boxes(settings, clips=12, size=size).round().int().T).tolist()
    video = noise(clips=12, height=size, width=size)
    result = run(video, settings)
    for i in range(12):
        crop = (video[i] / 255)[..., top[i] : bottom[i], left[i] : right[i]]
        expected = F.interpolate(crop, size=(size, size), mode="bilinear", align_corners=False)
        torch.testing.assert_close(result[i], expected, atol=1e-4, rtol=0)


def test_crops_have_the_area_aspect_and_places_asked_for():
    size = 64
    left, top, right, bottom = boxes(Augment(flip=0), size=size).T
    torch.testing.assert_close(left, left.round(), atol=1e-3, rtol=0)
    area, aspect = (right - left) * (bottom - top) / size**2, (right - left) / (bottom - top)
    assert min(left.min(), top.min()) > -0.01
    assert max(right.max(), bottom.max()) < size + 0.01
    # A crop's sides are rounded to whole pixels, hence the small tolerances.
    assert 0.07 < area.min() < 0.12
    assert 0.85 < area.max() <= 1.0001
    assert 0.70 < aspect.min() < 0.80
    assert 1.25 < aspect.max() < 1.40
    assert abs(aspect.log().mean()) < 0.05
    assert abs((left - (size - right)).mean()) < 3, "crops lean to one side"
    # Uniform in area, but the largest areas fit with few aspects only, so the mean is a little below 0.54.
    assert 0.45 < area.mean() < 0.56


@pytest.mark.parametrize(("height", "width", "expected"), [(20, 60, (20, 27)), (60, 20, (27, 20))])
def test_a_frame_that_no_crop_fits_gives_its_largest_allowed_centre(height, width, expected):
    video = noise(clips=1, height=height, width=width)
    h, w = expected
    top, left = (height - h) // 2, (width - w) // 2
    crop = (video[0] / 255)[..., top : top + h, left : left + w]
    expected = F.interpolate(crop, size=(32, 32), mode="bilinear", align_corners=False)
    result = run(video, Augment(area=(0.99, 1), flip=0), size=32)
    torch.testing.assert_close(result[0], expected, atol=1e-4, rtol=0)


def test_flips_happen_with_their_probability():
    result = run(ramps(400, 8), Augment(area=(1, 1), flip=0.25))
    flipped = result[:, 0, 0, 0, 0] > result[:, 0, 0, 0, -1]
    assert 70 < flipped.sum() < 130  # 100 expected, standard deviation 8.7


def angles(settings, *, clips=300, size=65):
    """Rotation of each clip in degrees: where the step from the centre to its right is read."""
    centre = size // 2
    result = run(ramps(clips, size), settings)[:, 0, :2] * 255
    x, y = (result[:, :, centre, centre + 8] - result[:, :, centre, centre]).T
    torch.testing.assert_close(torch.hypot(x, y), torch.full((clips,), 8.0), atol=1e-2, rtol=0)
    return torch.rad2deg(torch.atan2(y, x))


def test_rotations_spread_evenly_up_to_the_limit_both_ways():
    degrees = angles(Augment(area=(1, 1), flip=0, rotation=30))
    assert degrees.abs().max() <= 30.01
    assert degrees.min() < -28
    assert degrees.max() > 28
    assert abs(degrees.mean()) < 3  # standard deviation 1.0


def test_rotation_turns_about_the_centre_and_repeats_the_edge():
    size = 33
    video = noise(clips=40, frames=1, height=size, width=size)
    settings = Augment(area=(1, 1), flip=0, rotation=90)
    degrees = angles(settings, clips=40)
    result = run(video, settings)
    for i in range(40):
        theta = math.radians(degrees[i])
        matrix = torch.tensor([[math.cos(theta), -math.sin(theta), 0.0], [math.sin(theta), math.cos(theta), 0.0]])
        grid = F.affine_grid(matrix[None], (1, 3, size, size), align_corners=False)
        expected = F.grid_sample(video[i] / 255.0, grid, padding_mode="border", align_corners=False)
        torch.testing.assert_close(result[i], expected, atol=1e-2, rtol=0)


def test_a_rotated_crop_shows_its_surroundings_in_the_corners():
    video = torch.full((30, 1, 3, 64, 64), 100, dtype=torch.uint8)
    result = run(video, Augment(rotation=45))
    torch.testing.assert_close(result, torch.full_like(result, 100 / 255), atol=1e-5, rtol=0)
    inner = run(ramps(30, 64), Augment(area=(0.1, 0.1), flip=0, rotation=45))[:, 0, 0, :, 0] * 255
    assert (inner.diff(dim=1).abs() > 1e-3).float().mean() > 0.9, "the edge of the crop was repeated"


def test_brightness_multiplies_and_clamps():
    video = noise(clips=300, height=8, width=8)
    result = run(video, Augment(area=(1, 1), flip=0, brightness=0.5))
    dark = (video / 255).clamp(max=0.6)
    factors = (result * (video < 153)).sum((1, 2, 3, 4)) / (dark * (video < 153)).sum((1, 2, 3, 4))
    torch.testing.assert_close(result, ((video / 255) * factors.view(-1, 1, 1, 1, 1)).clamp(0, 1))
    assert result.max() == 1
    assert 0.5 <= factors.min() < 0.53
    assert 1.47 < factors.max() <= 1.5
    assert abs(factors.mean() - 1) < 0.06


def test_all_frames_of_a_clip_get_the_same_treatment():
    still = noise(frames=1).expand(-1, 5, -1, -1, -1)
    result = run(still, ALL)
    assert torch.equal(result, result[:, :1].expand_as(result))
    assert not torch.equal(run(noise(), ALL), normalize(noise(), RAW))


def test_a_clip_is_treated_alike_in_any_batch_and_order():
    video = noise(clips=5)
    whole = run(video, ALL, clips=[3, 1, 4, 9, 2], seed=7, epoch=2)
    turned = run(video.flip(0), ALL, clips=[2, 9, 4, 1, 3], seed=7, epoch=2)
    assert torch.equal(whole.flip(0), turned)
    for i, clip in enumerate([3, 1, 4, 9, 2]):
        assert torch.equal(run(video[i : i + 1], ALL, clips=[clip], seed=7, epoch=2)[0], whole[i])


def test_clip_indices_may_be_a_tensor():
    video = noise()
    by_tensor = augment(video, torch.tensor([5, 6]), ALL, seed=0, epoch=0, size=32)
    assert torch.equal(by_tensor, run(video, ALL, clips=[5, 6]))


def test_seed_epoch_and_clip_each_change_the_treatment():
    video = noise(clips=1)
    base = run(video, ALL, clips=[0], seed=1, epoch=1)
    assert torch.equal(base, run(video, ALL, clips=[0], seed=1, epoch=1))
    for other in ({"seed": 2}, {"epoch": 2}, {"clips": [1]}):
        assert not torch.equal(base, run(video, ALL, **({"clips": [0], "seed": 1, "epoch": 1} | other)))


def test_switching_one_change_on_leaves_the_others_as_they_were():
    video = ramps(20, 32)
    plain = run(video, Augment())
    bright = run(video, Augment(brightness=0.5))
    factors = bright.amax((1, 2, 3, 4)) / plain.amax((1, 2, 3, 4))
    torch.testing.assert_close(bright, plain * factors.view(-1, 1, 1, 1, 1))


def test_the_global_random_state_is_neither_used_nor_changed():
    torch.manual_seed(0)
    np.random.seed(0)
    first = run(noise(), ALL), mix(noise() / 255, torch.arange(2), Mix(mixup=1, fmix=0), seed=0, epoch=0, step=0)[3]
    states = torch.get_rng_state(), np.random.get_state()[1]
    second = run(noise(), ALL), mix(noise() / 255, torch.arange(2), Mix(mixup=1, fmix=0), seed=0, epoch=0, step=0)[3]
    assert torch.equal(first[0], second[0])
    assert first[1] == second[1]
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()


def test_mixup_averages_neighbours_and_says_with_what_weight():
    video, labels = noise(clips=4) / 255, torch.tensor([0, 1, 2, 3])
    mixed, own, other, weight = mix(video, labels, Mix(mixup=1, fmix=0), seed=0, epoch=0, step=3)
    assert own.tolist() == [0, 1, 2, 3]
    assert other.tolist() == [1, 0, 3, 2]
    torch.testing.assert_close(mixed, weight * video + (1 - weight) * video[[1, 0, 3, 2]])


def test_fmix_shows_one_blob_mask_in_all_clips_and_frames_and_weighs_by_its_area():
    video, labels = torch.zeros(4, 3, 3, 48, 40), torch.tensor([0, 1, 2, 3])
    video[[0, 2]] = 1  # where a clip of ones keeps itself the result is 1, where its partner does it is 0
    mixed, own, other, weight = mix(video, labels, Mix(mixup=0, fmix=1), seed=0, epoch=0, step=0)
    mask = mixed[0, 0, 0]
    assert 0 < weight < 1
    assert set(mask.unique().tolist()) == {0, 1}
    assert weight == pytest.approx(mask.mean().item())
    assert torch.equal(mixed[::2], mask.expand(2, 3, 3, -1, -1))
    assert torch.equal(mixed[1::2], 1 - mixed[::2])
    assert (own.tolist(), other.tolist()) == ([0, 1, 2, 3], [1, 0, 3, 2])
    neighbours = (mask[1:] == mask[:-1]).float().mean(), (mask[:, 1:] == mask[:, :-1]).float().mean()
    assert min(neighbours) > 0.9, "not blobs"


def weights(settings, steps=400):
    video, labels = torch.zeros(2, 1, 3, 16, 16), torch.arange(2)
    return np.array([mix(video, labels, settings, seed=1, epoch=0, step=step)[3] for step in range(steps)])


def test_mixup_weights_follow_the_clamped_beta():
    drawn = weights(Mix(mixup=1, fmix=0))
    assert drawn.min() == 0.3
    assert drawn.max() == 0.7
    # Beta(0.4, 0.4) lies beyond 0.3 and 0.7 with 0.368 each.
    assert 0.30 < (drawn == 0.3).mean() < 0.44
    assert 0.30 < (drawn == 0.7).mean() < 0.44


def test_fmix_weights_are_uniform_for_alpha_1():
    drawn = weights(Mix(mixup=0, fmix=1))
    assert (drawn * 256 == np.round(drawn * 256)).all(), "the weight is the share of pixels kept"
    assert np.quantile(drawn, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.07)


def test_batches_are_mixed_as_often_as_asked():
    video, labels = noise(frames=1, height=8, width=8) / 255, torch.arange(2)
    kinds = {"none": 0, "mixup": 0, "fmix": 0}
    for step in range(400):
        mixed, _, other, weight = mix(video, labels, Mix(), seed=0, epoch=1, step=step)
        if other is labels:
            assert mixed is video
            assert weight == 1
            kinds["none"] += 1
        else:
            kept = (mixed == video) | (mixed == video.flip(0))
            kinds["fmix" if kept.all() else "mixup"] += 1
    assert {name: count / 400 for name, count in kinds.items()} == pytest.approx(
        {"none": 0.3, "mixup": 0.4, "fmix": 0.3}, abs=0.08
    )


@pytest.mark.parametrize("settings", [Mix(mixup=1, fmix=0), Mix(mixup=0, fmix=1)])
def test_mixing_is_the_same_in_one_piece_and_in_even_pieces(settings):
    video, labels = noise(clips=6) / 255, torch.arange(6)
    whole = mix(video, labels, settings, seed=3, epoch=1, step=5)
    pieces = [mix(video[p], labels[p], settings, seed=3, epoch=1, step=5) for p in (slice(0, 4), slice(4, 6))]
    assert torch.equal(whole[0], torch.cat([piece[0] for piece in pieces]))
    assert torch.equal(whole[2], torch.cat([piece[2] for piece in pieces]))
    assert whole[3] == pieces[0][3] == pieces[1][3]


@pytest.mark.parametrize("settings", [Mix(mixup=1, fmix=0), Mix(mixup=0, fmix=1)])
def test_pairs_depend_on_the_places_of_the_clips_in_the_batch_of_all_devices(settings):
    video, labels = noise(clips=6) / 255, torch.arange(6)
    whole = mix(video, labels, settings, seed=3, epoch=1, step=5)
    piece = mix(video[[2, 3, 5]], labels[[2, 3, 5]], settings, seed=3, epoch=1, step=5, places=[2, 3, 5])
    assert torch.equal(whole[0][2:4], piece[0][:2])
    assert piece[2].tolist() == [3, 2, 5]  # the partner of 5 is not here
    torch.testing.assert_close(piece[0][2], video[5])


@pytest.mark.parametrize("settings", [Mix(mixup=1, fmix=0), Mix(mixup=0, fmix=1)])
def test_a_last_clip_without_partner_stays_itself(settings):
    video, labels = noise(clips=3) / 255, torch.tensor([4, 5, 6])
    mixed, _, other, _ = mix(video, labels, settings, seed=0, epoch=0, step=0)
    assert other.tolist() == [5, 4, 6]
    torch.testing.assert_close(mixed[2], video[2])
    assert not torch.equal(mixed[0], video[0])


def test_mixing_does_not_change_its_input():
    video = noise(clips=2) / 255
    for settings in (Mix(mixup=1, fmix=0), Mix(mixup=0, fmix=1)):
        mix(video, torch.arange(2), settings, seed=0, epoch=0, step=0)
    assert torch.equal(video, noise(clips=2) / 255)


@pytest.mark.parametrize(
    ("settings", "values", "key"),
    [
        (Augment, {"area": (0.0, 1.0)}, "area"),
        (Augment, {"area": (0.5, 0.2)}, "area"),
        (Augment, {"area": (0.5, 1.5)}, "area"),
        (Augment, {"aspect": (0, 1)}, "aspect"),
        (Augment, {"aspect": (2, 1)}, "aspect"),
        (Augment, {"flip": 1.5}, "flip"),
        (Augment, {"flip": math.nan}, "flip"),
        (Augment, {"rotation": -4}, "rotation"),
        (Augment, {"brightness": 2}, "brightness"),
        (Mix, {"mixup": -0.1}, "mixup"),
        (Mix, {"fmix": 1.1}, "fmix"),
        (Mix, {"mixup": 0.8, "fmix": 0.3}, "mixup plus fmix"),
        (Mix, {"mixup_alpha": 0}, "mixup_alpha"),
        (Mix, {"mixup_range": (0.7, 0.3)}, "mixup_range"),
        (Mix, {"fmix_alpha": -1}, "fmix_alpha"),
        (Mix, {"fmix_decay": -1}, "fmix_decay"),
    ],
)
def test_impossible_settings_are_refused_by_key(settings, values, key):
    with pytest.raises(InputError, match=re.escape(f"{key} is")) as error:
        settings(**values)
    assert "\n" not in str(error.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_gives_the_same_clips_as_the_cpu():
    video, labels = noise(clips=4), torch.arange(4)
    on_device = augment(video.cuda(), [0, 1, 2, 3], ALL, seed=0, epoch=0, size=32)
    torch.testing.assert_close(on_device.cpu(), run(video, ALL), atol=1e-4, rtol=0)
    for settings in (Mix(mixup=1, fmix=0), Mix(mixup=0, fmix=1)):
        mixed = mix(on_device, labels.cuda(), settings, seed=0, epoch=0, step=0)
        torch.testing.assert_close(
            mixed[0].cpu(), mix(on_device.cpu(), labels, settings, seed=0, epoch=0, step=0)[0], atol=1e-5, rtol=0
        )


def test_a_clip_that_appears_again_in_an_epoch_is_augmented_in_another_way():
    video = torch.randint(0, 256, (1, 2, 3, 16, 16), dtype=torch.uint8)
    draw = partial(augment, video, [5], Augment(), seed=0, epoch=0, size=16)
    first = draw()
    assert torch.equal(draw(again=[0]), first)
    assert not torch.equal(draw(again=[1]), first)
    assert not torch.equal(draw(again=[1]), draw(again=[2]))
