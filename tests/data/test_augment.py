"""Augmentations are their formulas, keep dtypes, and draw from the generator they are given only."""

import functools
import pickle

import numpy as np
import pytest

from vita_jax.data import augment

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 9, 3)).astype(np.uint8)
FLOAT = (IMAGE / 255).astype(np.float32)
RANDOM = {
  "random_crop": functools.partial(augment.random_crop, size=(7, 8)),
  "padded_crop": functools.partial(augment.random_crop, size=12, padding=4, mode="reflect"),
  "random_resized_crop": functools.partial(augment.random_resized_crop, size=6),
  "flip": augment.flip,
  "colour_jitter": functools.partial(
    augment.colour_jitter, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2
  ),
}
FIXED = {
  "resize": functools.partial(augment.resize, size=(5, 7)),
  "resize_short": functools.partial(augment.resize, size=4, method="lanczos"),
  "center_crop": functools.partial(augment.center_crop, size=(7, 8)),
}
SHAPES = {
  "random_crop": (7, 8, 3),
  "padded_crop": (12, 12, 3),
  "random_resized_crop": (6, 6, 3),
  "resize": (5, 7, 3),
  "resize_short": (5, 4, 3),
  "center_crop": (7, 8, 3),
}


@pytest.mark.parametrize("name", [*RANDOM, *FIXED])
def test_it_keeps_dtype_and_input_and_repeats_with_the_generator(name):
  function = {**RANDOM, **FIXED}[name]
  for image in (IMAGE, FLOAT):
    before = image.copy()
    found = [function(image, np.random.Generator(np.random.Philox(3))) for _ in range(2)]
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(image, before)
    assert found[0].dtype == image.dtype and found[0].shape == SHAPES.get(name, image.shape)
    if image.dtype == np.float32:
      assert -0.2 <= found[0].min() and found[0].max() <= 1.2  # cubic filters overshoot, nothing else
  others = [function(IMAGE, np.random.default_rng(seed)) for seed in range(12)]
  assert (len({x.tobytes() for x in others}) > 1) == (name in RANDOM)


def test_crops_are_parts_of_the_image_at_every_place():
  seen = {augment.random_crop(IMAGE, np.random.default_rng(i), size=(11, 8)).tobytes() for i in range(60)}
  assert seen == {IMAGE[i : i + 11, j : j + 8].tobytes() for i in range(2) for j in range(2)}
  padded = augment.random_crop(IMAGE, np.random.default_rng(0), size=(14, 11), padding=1)
  np.testing.assert_array_equal(padded[1:-1, 1:-1], IMAGE)
  assert not padded[0].any()
  np.testing.assert_array_equal(augment.center_crop(IMAGE, size=(10, 8)), IMAGE[1:11, 0:8])


def test_the_boxes_of_a_resized_crop_keep_their_bounds(monkeypatch):
  boxes = []

  def resized(image, box, size, method):
    boxes.append(box)
    return image

  monkeypatch.setattr(augment, "_resized", resized)
  big = np.zeros((200, 300, 3), np.uint8)
  for i in range(300):
    augment.random_resized_crop(big, np.random.default_rng(i), size=8, area=(0.2, 0.5), ratio=(0.5, 2.0))
  left, top, right, bottom = np.array(boxes).T
  width, height = right - left, bottom - top
  assert (left >= 0).all() and (top >= 0).all() and (right <= 300).all() and (bottom <= 200).all()
  area, ratio = width * height / 60_000, width / height
  assert 0.19 < area.min() < 0.25 and 0.45 < area.max() < 0.51
  assert 0.49 < ratio.min() < 0.6 and 1.7 < ratio.max() < 2.03
  boxes.clear()  # nothing fits: the largest box in the middle
  thin = np.zeros((10, 1000, 3), np.uint8)
  augment.random_resized_crop(thin, np.random.default_rng(0), size=8, area=(1.0, 1.0))
  assert boxes == [(493, 0, 506, 10)]


def test_flip_mirrors_at_its_rate():
  np.testing.assert_array_equal(
    augment.flip(IMAGE, np.random.default_rng(0), probability=1.0), IMAGE[:, ::-1]
  )
  rng = np.random.default_rng(0)
  flipped = [augment.flip(IMAGE, rng, probability=0.25) is not IMAGE for _ in range(2000)]
  assert abs(np.mean(flipped) - 0.25) < 0.04


def test_each_change_of_colour_is_its_formula():
  x = FLOAT
  grey = x @ augment.GREY
  np.testing.assert_allclose(augment._CHANGES["brightness"](x, np.float32(0.5)), x / 2)
  np.testing.assert_allclose(augment._CHANGES["contrast"](x, np.float32(0.0)), grey.mean(), rtol=1e-5)
  np.testing.assert_allclose(
    augment._CHANGES["saturation"](x, np.float32(0.0)), grey[..., None] + 0 * x, rtol=1e-5
  )
  np.testing.assert_allclose(augment._turned(x, np.float32(1 / 3)), x[..., [2, 0, 1]], atol=1e-5)
  plain = np.full((2, 2, 3), 0.3, np.float32)
  np.testing.assert_allclose(augment._turned(plain, np.float32(0.2)), plain, atol=1e-6)
  unchanged = augment.colour_jitter(IMAGE, np.random.default_rng(0))
  np.testing.assert_array_equal(unchanged, IMAGE)


def test_a_composed_transform_is_its_steps_and_can_be_sent_to_a_process():
  steps = (RANDOM["random_crop"], augment.flip, functools.partial(augment.to_float, mean=0.5, std=0.5))
  transform = pickle.loads(pickle.dumps(augment.Augment(steps)))
  found = transform({"image": IMAGE, "label": 3}, np.random.default_rng(5))
  rng, expected = np.random.default_rng(5), IMAGE
  for step in steps:
    expected = step(expected, rng)
  np.testing.assert_array_equal(found["image"], expected)
  assert found["label"] == 3 and found["image"].dtype == np.float32
  np.testing.assert_allclose(augment.to_float(IMAGE, mean=0.5, std=0.5), FLOAT * 2 - 1, atol=1e-6)


@pytest.mark.parametrize(
  ("function", "message"),
  [
    (lambda: augment.resize(IMAGE, size=(0, 3)), "size is"),
    (lambda: augment.resize(IMAGE, size=3, method="cubic"), "did you mean 'bicubic'"),
    (lambda: augment.resize(IMAGE.astype(np.int32), size=3), "uint8 or floating"),
    (lambda: augment.center_crop(IMAGE, size=40), "larger than the image, 12 x 9"),
    (lambda: augment.colour_jitter(IMAGE[..., :1], None), r"needs an image \[height, width, 3\]"),
    (lambda: augment.colour_jitter(IMAGE, None, hue=0.6), "at most 0.5"),
  ],
)
def test_what_cannot_be_is_refused(function, message):
  with pytest.raises(ValueError, match=message) as error:
    function()
  assert "\n" not in str(error.value)


def test_jpeg_and_blur_lose_detail_and_keep_the_mean():
  image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
  for spoiled in (augment.blur(image, sigma=2.0), augment.jpeg(image, quality=30)):
    assert spoiled.shape == image.shape and spoiled.dtype == np.uint8
    assert abs(spoiled.mean() - image.mean()) < 3 and spoiled.std() < image.std()
  flat = np.full((16, 16, 3), 77, np.uint8)
  np.testing.assert_array_equal(augment.blur(flat, sigma=3.0), flat)
  assert augment.square(image[:, :20], size=10).shape == (10, 10, 3)
