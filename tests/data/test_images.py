"""One class of CIFAR-10 as a domain: its images of both splits, and no others."""

import numpy as np
import pytest

from vita_jax.data import images


def test_a_class_has_its_images_of_both_splits(monkeypatch):
  labels = np.arange(20, dtype=np.int32) % 10
  pixels = np.broadcast_to(labels[:, None, None, None].astype(np.uint8), (20, 2, 2, 3))
  split = {"image": pixels, "label": labels}
  monkeypatch.setattr(images, "load_images", lambda name: images.Images(split, split, name))
  horse = images.cifar10_class("horse")
  assert (horse.train["image"] == 7).all() and len(horse.test["label"]) == 2
  assert horse.source == "cifar10, class horse"
  with pytest.raises(ValueError, match="did you mean 'deer'"):
    images.cifar10_class("der")
