import numpy as np
import pytest

from peclip.inference.tracks import CONFIRMED, GAP, MARGIN, Tracker

FPS = 25
ONE, OTHER = (np.random.default_rng(seed).integers(0, 255, (8, 8)) for seed in (1, 2))


def scene(*faces: tuple[float, float, float, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Draw faces (x, y of the centre, side, look) on grey; return the frame and their boxes."""
    frame = np.full((240, 320, 3), 128, np.uint8)
    for x, y, side, look in faces:
        rows = np.arange(max(0, int(y - side / 2)), min(240, int(y + side / 2)))
        columns = np.arange(max(0, int(x - side / 2)), min(320, int(x + side / 2)))
        u = ((rows - y) / side + 0.5) * 8
        v = ((columns - x) / side + 0.5) * 8
        frame[rows[:, None], columns] = look[u.astype(int).clip(0, 7)[:, None], v.astype(int).clip(0, 7)][..., None]
    return frame, np.array([[x - s / 2, y - s / 2, s, s] for x, y, s, _ in faces]).reshape(-1, 4)


def follow(frames: list[tuple[np.ndarray, np.ndarray]], most: int = 16) -> list[list[int | None]]:
    """Return the numbers of the tracks of each frame, as they are known in the end."""
    tracker = Tracker(most)
    found = [tracker.update(i / FPS, *frame) for i, frame in enumerate(frames)]
    tracker.finish()
    return [[track.number for track in tracks] for tracks in found]


def test_a_face_that_moves_and_grows_is_one_track():
    frames = [scene((60 + 8 * i, 120, 40 + i, ONE)) for i in range(20)]
    assert follow(frames) == [[1]] * 20


def test_faces_side_by_side_keep_their_numbers():
    frames = [scene((80 + 2 * i, 120, 40, ONE), (240 - 2 * i, 120, 40, OTHER)) for i in range(25)]
    assert follow(frames) == [[1, 2]] * 25


def test_faces_that_cross_keep_their_numbers():
    frames = [scene((100 + 5 * i, 90, 40, ONE), (220 - 5 * i, 120, 40, OTHER)) for i in range(25)]
    numbers = follow(frames)
    assert numbers[0] == [1, 2]
    assert numbers[-1] == [2, 1]


def test_numbers_follow_the_order_of_appearance():
    frames = [scene((200, 120, 40, ONE)) for _ in range(5)]
    frames += [scene((60, 120, 40, OTHER), (200, 120, 40, ONE)) for _ in range(5)]
    assert follow(frames)[-1] == [2, 1]


def test_a_face_may_be_out_of_sight_for_a_while():
    shown, hidden = scene((100, 100, 40, ONE)), scene()
    assert follow([shown] * 5 + [hidden] * (round(GAP * FPS) - 5) + [shown] * 5)[-1] == [1]


def test_a_face_that_was_away_for_long_is_a_new_track():
    shown, hidden = scene((100, 100, 40, ONE)), scene()
    assert follow([shown] * 5 + [hidden] * (round(GAP * FPS) + 5) + [shown] * 5)[-1] == [2]


def walk(*xs: float, pillar: int = 60) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw a face at places behind a pillar in the middle; it is found where half of it is seen, and the box is around that half."""
    frames, left, right = [], 160 - pillar / 2, 160 + pillar / 2
    for x in xs:
        frame, _ = scene((x, 120, 40, ONE))
        frame[:, int(left) : int(right)] = 60
        first, last = (x - 20, min(x + 20, left)) if x < 160 else (max(x - 20, right), x + 20)
        frames.append((frame, np.array([[first, 100, last - first, 40]] if last - first >= 20 else []).reshape(-1, 4)))
    return frames


@pytest.mark.parametrize(("speed", "pillar"), [(3, 60), (4, 80), (5, 80), (7, 60)])
def test_a_face_that_walks_behind_something_keeps_its_number(speed, pillar):
    frames = walk(*np.arange(30, 290, speed), pillar=pillar)
    assert [] in [list(boxes) for _, boxes in frames]
    assert {number for numbers in follow(frames) for number in numbers} <= {1, None}
    assert follow(frames)[-1] == [1]


def test_a_face_that_turns_back_behind_something_keeps_its_number():
    there = np.arange(80, 160, 4)
    assert follow(walk(*there, *there[::-1]))[-1] == [1]


def test_of_faces_that_cross_the_hidden_one_keeps_its_number():
    frames = []
    for i in range(30):
        near, far = 230 - 5 * i, 90 + 5 * i
        frame, boxes = scene((far, 120, 40, ONE), (near, 120, 40, OTHER))
        frames.append((frame, boxes if abs(near - far) > 20 else boxes[1:]))
    numbers = follow(frames)
    assert (numbers[0], numbers[-1]) == ([1, 2], [2, 1])


def test_a_cut_to_another_face_at_the_same_place_is_a_new_track():
    numbers = follow([scene((100, 100, 40, ONE))] * 5 + [scene((100, 100, 40, OTHER))] * 5)
    assert numbers == [[1]] * 5 + [[2]] * 5


def test_a_cut_and_back_finds_the_first_track_again():
    one, other = scene((100, 100, 40, ONE)), scene((100, 100, 40, OTHER))
    assert follow([one] * 5 + [other] * 5 + [one] * 5) == [[1]] * 5 + [[2]] * 5 + [[1]] * 5


def room(seed: int) -> np.ndarray:
    """Return a room, uint8 (240, 320, 3), with large shapes of its own."""
    shapes = np.random.default_rng(seed).integers(0, 255, (6, 8), dtype=np.uint8)
    return np.repeat(np.repeat(shapes, 40, 0), 40, 1)[..., None].repeat(3, 2)


def in_room(seed: int, shift: int = 0, light: float = 1.0, look: np.ndarray = ONE) -> tuple[np.ndarray, np.ndarray]:
    """Draw a face in a room, which has moved and may be dark; return the frame and its box."""
    frame, (face, boxes) = np.roll(room(seed), shift, axis=1), scene((100, 100, 40, look))
    frame[80:120, 80:120] = face[80:120, 80:120]
    return (frame * light).astype(np.uint8), boxes


ALIKE = (0.6 * ONE + 0.4 * OTHER).astype(int)
"""A look that is near enough to ONE for a face that turns its head, but not for one picture of a face."""


def test_a_face_that_looks_alike_is_another_one_in_another_shot():
    assert follow([in_room(1)] * 5 + [in_room(1, look=ALIKE)] * 5) == [[1]] * 10
    assert follow([in_room(1)] * 5 + [in_room(2, look=ALIKE)] * 5) == [[1]] * 5 + [[2]] * 5


def test_a_face_that_stays_where_the_rest_of_the_picture_changes_is_the_same():
    assert follow([in_room(1)] * 5 + [in_room(2)] * 5) == [[1]] * 10


def test_a_black_frame_between_two_shots_hides_no_cut():
    black = (np.zeros((240, 320, 3), np.uint8), np.zeros((0, 4)))
    assert follow([in_room(1)] * 5 + [black] + [in_room(2, look=ALIKE)] * 5)[-1] == [2]
    assert follow([in_room(1)] * 5 + [black] + [in_room(1)] * 5)[-1] == [1]


@pytest.mark.parametrize("light", [0.3, 0.1])
def test_a_flash_is_no_cut(light):
    frames = [in_room(1, light=light)] * 4 + [in_room(1)] + [in_room(1, light=light)] * 4
    assert follow(frames) == [[1]] * 9


def test_a_room_that_moves_behind_a_face_is_no_cut():
    assert follow([in_room(1, 3 * i) for i in range(30)]) == [[1]] * 30


def test_a_change_of_light_is_not_a_cut():
    bright, boxes = scene((100, 100, 40, ONE))
    assert follow([(bright, boxes), (bright // 3, boxes)] * 5) == [[1]] * 10


def test_what_flashes_up_is_no_face():
    frames = [scene((100, 100, 40, ONE))] * 10
    frames[5] = scene((100, 100, 40, ONE), (250, 200, 30, OTHER))
    assert follow(frames)[5] == [1, None]


def test_in_the_last_frames_a_face_need_not_be_seen_often():
    assert follow([scene((100, 100, 40, ONE))]) == [[1]]
    frames = [scene()] * 10 + [scene((100, 100, 40, ONE))] * (CONFIRMED - 1)
    assert follow(frames)[-1] == [1]


@pytest.mark.parametrize("fps", [0.25, 1, 3, 8])
def test_with_few_frames_a_second_a_face_is_a_track_at_once(fps):
    frame, boxes = scene((100, 100, 40, ONE))
    tracker = Tracker(1)
    tracker.update(0, frame, boxes)
    assert [tracker.update(i / fps, frame, boxes)[0].number for i in range(1, 10)] == [1] * 9


def test_of_a_crowd_the_largest_are_followed():
    crowd = [(20 + 30 * i, 120, 10 + 2 * i, ONE) for i in range(10)]
    frame, boxes = scene(*crowd)
    tracker = Tracker(3)
    followed = [tracker.update(i / FPS, frame, boxes) for i in range(3)][-1]
    assert [track.place[2] for track in followed] == [24, 26, 28]


def test_of_faces_that_are_about_as_large_the_same_ones_are_followed():
    rng = np.random.default_rng(0)
    frames = [scene(*((20 + 30 * i, 120, 20 + rng.normal(0, 0.5), ONE) for i in range(10))) for _ in range(30)]
    assert follow(frames, most=3) == [[1, 2, 3]] * 30
    grown = [scene(*((20 + 30 * i, 120, 20 + 10 * (i == 9), ONE) for i in range(10))) for _ in range(5)]
    assert [len(numbers) for numbers in follow([*frames, *grown], most=3)] == [3] * 35
    assert follow([*frames, *grown], most=3)[-1][-1] == 4, "one that is much larger takes a place"


def test_after_a_cut_a_crowd_is_chosen_by_size_alone():
    """Smaller faces are where those of the shot before were."""
    tracker = Tracker(3)
    across, down = (np.linspace(0, 100, 320)[:, None], np.linspace(100, 0, 240)[:, None, None])
    for number in range(10):
        is_after = number >= 5
        small = [(20 + 30 * i, 60, 18 if is_after else 20, OTHER if is_after else ONE) for i in range(3)]
        frame, boxes = scene(*small, *((20 + 30 * i, 180, 24, OTHER) for i in range(3 * is_after)))
        shot = (frame // 2 + (down if is_after else across)).astype(np.uint8)
        followed = tracker.update(number / FPS, shot, boxes)
    assert [track.place[2] for track in followed] == [24, 24, 24]


def test_the_square_is_steadier_than_the_boxes():
    rng = np.random.default_rng(0)
    tracker = Tracker(1)
    centres, sides = [], []
    for i in range(100):
        x, y, side = np.array([160, 120, 60]) + rng.normal(0, 1.5, 3)
        (track,) = tracker.update(i / FPS, *scene((x, y, side, ONE)))
        centres.append(track.square.x)
        sides.append(track.square.side)
    assert np.std(centres[20:]) < 1.5 * 0.7
    assert np.std(sides[20:]) < 1.5 * MARGIN * 0.5
    assert np.mean(sides[20:]) == pytest.approx(60 * MARGIN, rel=0.02)


def test_the_square_keeps_up_with_a_quick_face():
    tracker = Tracker(1)
    for i in range(25):
        x = 40 + 9 * i
        (track,) = tracker.update(i / FPS, *scene((x, 120, 50, ONE)))
        half = track.square.side / 2
        assert track.square.x - half <= x - 25
        assert x + 25 <= track.square.x + half
