"""Folders of images as rows of a Stream; images of every kind upright in 8 bits; broken ones named."""

import functools
import io

import numpy as np
import pytest
from PIL import Image

from vita_jax.data import augment
from vita_jax.data.files_image import read_image
from vita_jax.data.folders import ImageFolder, Partner, twins
from vita_jax.data.stream import Stream, batches

RED = np.zeros((4, 6, 3), np.uint8)
RED[:2, :3] = (255, 0, 0)


def encoded(image, kind="PNG", **options):
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def write(path, value=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path)


@pytest.fixture
def pets(tmp_path):
  for i, name in enumerate(("dog/2.png", "cat/10.png", "cat/deep/1.PNG", "dog/1.jpeg")):
    write(tmp_path / name, 10 * i)
  (tmp_path / "cat" / "notes.txt").write_text("not an image")
  write(tmp_path / "cat" / ".hidden.png")
  return tmp_path


def test_a_folder_of_classes_is_rows_in_the_order_of_names(pets):
  folder = ImageFolder(pets)
  assert folder.paths == ("cat/10.png", "cat/deep/1.PNG", "dog/1.jpeg", "dog/2.png")
  assert folder.classes == ("cat", "dog") and folder.labels.tolist() == [0, 0, 1, 1] and len(folder) == 4
  row = folder[1]
  assert row["image"].shape == (4, 5, 3) and row["image"][0, 0, 0] == 20 and row["label"] == 0
  assert ImageFolder(pets, mode="L")[1]["image"].shape == (4, 5, 1)


def test_a_flat_folder_has_no_labels(pets):
  folder = ImageFolder(pets / "dog")
  assert folder.paths == ("1.jpeg", "2.png") and folder.classes == () and list(folder[0]) == ["image"]


def test_what_is_wrong_with_a_folder_is_said_in_one_line(pets):
  with pytest.raises(FileNotFoundError, match="no folder"):
    ImageFolder(pets / "fish")
  (pets / "fish").mkdir()
  with pytest.raises(ValueError, match="fish has no images: fill or remove"):
    ImageFolder(pets)
  with pytest.raises(ValueError, match="has no images: they end in .png"):
    ImageFolder(pets / "fish")
  write(pets / "stray.png")
  with pytest.raises(ValueError, match="both beside and inside"):
    ImageFolder(pets)
  (pets / "dog" / "1.jpeg").write_bytes(b"\xff\xd8\xff broken")
  folder = ImageFolder(pets / "dog")
  with pytest.raises(ValueError, match="1.jpeg is not a readable image") as error:
    folder[0]
  assert "\n" not in str(error.value)


def test_a_partner_comes_from_the_other_domain(tmp_path):
  for i in range(3):
    write(tmp_path / "a" / f"{i}.png", i)
    write(tmp_path / "b" / f"{i}.png", 100 + i)
  a, b = ImageFolder(tmp_path / "a"), ImageFolder(tmp_path / "b")
  transform = Partner(b, then=(lambda row, rng: {**row, "drawn": rng.random()},))
  rows = [transform(a[1], np.random.default_rng(seed)) for seed in range(20)]
  assert {row["partner"][0, 0, 0] for row in rows} == {100, 101, 102}
  assert {row["image"][0, 0, 0] for row in rows} == {1} and len({row["drawn"] for row in rows}) == 20
  again = transform(a[1], np.random.default_rng(7))
  np.testing.assert_array_equal(again["partner"], rows[7]["partner"])


def test_images_are_upright():
  exif = Image.Exif()
  exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
  turned = read_image(encoded(Image.fromarray(RED), exif=exif))
  np.testing.assert_array_equal(turned, np.rot90(RED, -1))


def test_every_kind_of_pixel_becomes_eight_bits():
  image = Image.fromarray(RED)
  np.testing.assert_array_equal(read_image(encoded(image)), RED)
  np.testing.assert_array_equal(read_image(encoded(image.convert("P"), "GIF"))[0, 0], (255, 0, 0))
  assert read_image(encoded(image.convert("CMYK"), "JPEG")).shape == (4, 6, 3)
  bits = Image.fromarray(RED[..., 0] > 0)
  np.testing.assert_array_equal(read_image(encoded(bits), mode="L")[..., 0], RED[..., 0])
  wide = Image.fromarray(np.array([[0, 255, 256, 65535]], np.uint16))
  np.testing.assert_array_equal(read_image(encoded(wide), mode="L")[0, :, 0], [0, 0, 1, 255])
  clear = np.dstack([RED, np.zeros((4, 6, 1), np.uint8)])
  assert read_image(encoded(Image.fromarray(clear))).min() == 255  # transparent places show white
  with pytest.raises(ValueError, match="32-bit numbers"):
    read_image(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))


def test_images_that_are_too_large_or_broken_are_refused(tmp_path):
  content = encoded(Image.fromarray(RED))
  with pytest.raises(ValueError, match="6 x 4 pixels are more than 20"):
    read_image(content, max_pixels=20)
  for broken in (b"", b"GIF89a", content[:40], content[:-30], b"%!PS-Adobe-3.0 EPSF-3.0"):
    with pytest.raises(ValueError, match="not a readable image") as error:
      read_image(broken)
    assert "\n" not in str(error.value)
  with pytest.raises(FileNotFoundError):
    read_image(tmp_path / "none.png")


def test_a_stream_of_a_folder_draws_the_same_crops_whenever_it_resumes(pets):
  """Two unpaired domains, cropped and flipped on the host: batch 5 is the same from the start and resumed."""
  steps = (functools.partial(augment.random_crop, size=(3, 3), padding=1), augment.flip, augment.to_float)
  both = (augment.Augment(steps), augment.Augment(steps, key="partner"))
  partner = Partner(ImageFolder(pets / "cat" / "deep"), then=both)
  data = Stream(ImageFolder(pets / "dog"), 2, transform=partner)

  def take(start, n, **options):
    iterator = batches(data._replace(**options), 3, start)
    found = [next(iterator)[1] for _ in range(n)]
    iterator.close()
    return found

  whole = take(0, 6)
  assert whole[0]["image"].shape == whole[0]["partner"].shape == (2, 3, 3, 3)
  assert len({batch["image"].tobytes() for batch in whole}) > 3  # an epoch is one batch: crops differ
  for prefetch in (0, 3):
    for one, other in zip(take(3, 3, prefetch=prefetch), whole[3:], strict=True):
      for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_pictures_that_are_in_two_sets_are_found_whatever_their_size():
  coarse = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
  large = [np.kron(x, np.ones((4, 4, 1), np.uint8)) for x in coarse]
  assert twins(list(coarse), [large[2], 255 - coarse[0], large[0]]) == [(0, 2), (2, 0)]


def test_a_part_of_a_folder_has_these_files_alone(pets):
  folder = ImageFolder(pets)
  part = folder.only(["dog/1.jpeg", "cat/10.png"])
  assert part.paths == ("cat/10.png", "dog/1.jpeg") and part.labels.tolist() == [0, 1] and len(folder) == 4
  np.testing.assert_array_equal(part[1]["image"], folder[2]["image"])
  assert ImageFolder(pets / "dog").only(["2.png"]).labels is None
  with pytest.raises(ValueError, match="has no image fish.png"):
    folder.only(["fish.png"])
  with pytest.raises(ValueError, match="none of the 4 images of .* is named"):
    folder.only([])
