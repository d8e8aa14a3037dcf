"""launch/gan_slimming/stylize.py: a folder of pictures of any kind and size through an exported generator."""

import numpy as np
import pytest
from nn.small_export import write_small_export
from PIL import Image

from launch.commands import launch, refused, succeeded


def pixels(height, width, channels=3, seed=0):
  return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def opened(path):
  return np.asarray(Image.open(path))


def styled(function, picture):
  """What the command should write of a picture that goes through at once."""
  x = picture.astype(np.float32) / 127.5 - 1
  x = np.pad(x, ((0, -x.shape[0] % 4), (0, -x.shape[1] % 4), (0, 0)), mode="reflect")
  y = np.asarray(function(x[None]))[0, : picture.shape[0], : picture.shape[1]]
  return np.clip(np.round((y + 1) * 127.5), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run") / "export"
  return folder, write_small_export(folder)


def command(model, folder, out, *flags):
  return launch("gan_slimming/stylize", f"--model={model}", f"--in={folder}", f"--out={out}", *flags)


def test_pictures_of_every_kind_come_out_under_their_names(export, tmp_path):
  model, (expected, _) = export
  folder, out, shots = tmp_path / "in", tmp_path / "out", tmp_path / "in" / "shots"
  shots.mkdir(parents=True)
  colour, grey, clear = pixels(37, 50), pixels(24, 24, seed=1)[..., 0], pixels(20, 28, 4, seed=2)
  clear[..., 3] = 255 * (clear[..., 3] > 127)
  Image.fromarray(colour).save(shots / "00001.png")
  Image.fromarray(grey).save(folder / "grey.bmp")
  Image.fromarray(clear).save(folder / "clear.png")
  (folder / "bad.jpg").write_bytes(b"no picture")
  (folder / "notes.txt").write_text("not a picture")

  done = command(model, folder, out)
  refused(done, "1 of 4 pictures cannot be read and were left out: bad.jpg")
  assert "warning: " in done.stderr and "bad.jpg is not a readable image" in done.stderr
  assert "1 of the pictures are grey, taken as RGB" in done.stdout
  assert "1 of the pictures have transparent places, taken as white" in done.stdout
  names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*"))
  assert names == ["clear.png", "grey.png", "shots/00001.png"]
  white = np.where(clear[..., 3:] > 0, clear[..., :3], 255).astype(np.uint8)
  given = {"shots/00001": colour, "grey": np.stack([grey] * 3, -1), "clear": white}
  for name, picture in given.items():
    found = opened(out / f"{name}.png")
    assert np.abs(found.astype(int) - styled(expected, picture)).max() <= 1, name

  (folder / "bad.jpg").unlink()
  Image.fromarray(pixels(16, 16)).save(out / "grey.png")
  text = succeeded(command(model, folder, out))
  assert "0 pictures" in text and "3 were there already and are left (--overwrite replaces them)" in text
  np.testing.assert_array_equal(opened(out / "grey.png"), pixels(16, 16))
  succeeded(command(model, folder, out, "--overwrite"))
  assert opened(out / "grey.png").shape == (24, 24, 3)


def test_integers_and_tiles(export, tmp_path):
  model, (_, integer) = export
  folder = tmp_path / "in"
  folder.mkdir()
  Image.fromarray(pixels(40, 72)).save(folder / "a.png")
  succeeded(command(model, folder, tmp_path / "whole", "--int8"))
  whole = opened(tmp_path / "whole" / "a.png")
  assert np.abs(whole.astype(int) - styled(integer, pixels(40, 72))).max() <= 1
  succeeded(command(model, folder, tmp_path / "tiles", "--int8", "--largest=0", "--tile=32", "--overlap=8"))
  tiles = opened(tmp_path / "tiles" / "a.png")
  assert tiles.shape == whole.shape and not np.array_equal(tiles, whole)  # other statistics, see the help


def test_folders_that_cannot_be_right_are_refused(export, tmp_path):
  model, _ = export
  folder = tmp_path / "in"
  refused(command(model, folder, tmp_path / "out"), "no folder", "--in takes a folder")
  folder.mkdir()
  refused(command(model, folder, tmp_path / "out"), "has no pictures: they end in .png")
  Image.fromarray(pixels(8, 8)).save(folder / "a.png")
  refused(command(model, folder, folder / "out"), "its pictures would be pictures of the next run")
  refused(command(folder, folder, tmp_path / "out"), "has no program.jax and params.safetensors")
  refused(command(model, folder, tmp_path / "out", "--largest=0", "--tile=30"), "tile is 30")
  Image.fromarray(pixels(8, 8)).save(folder / "a.bmp")
  refused(command(model, folder, tmp_path / "out"), "would both become", "rename one of them")
