"""--dry_run compiles for a mesh that is not there, prints what each device needs, and leaves no trace."""

import re

from launch.commands import launch, refused, succeeded, training


def _bytes(text, name):
  number, unit = re.search(rf"{re.escape(name)} +([\d.e+]+) (B|kB|MB|GB)\n", text).groups()
  return float(number) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_it_prints_what_a_device_needs_and_runs_nothing(graph, tmp_path):
  flags = [*training(graph, tmp_path / "run", "none", epochs=3), "--dry_run", "--config.seeds=8"]
  one = succeeded(launch("train", *flags))
  layout = ["--cpu_devices=8", "--config.mesh.seed=8", "--config.mesh.data=1"]
  eight = succeeded(launch("train", *flags, *layout))
  assert not (tmp_path / "run").exists()
  assert "seed=8 x data=1 x model=1; nothing was run" in eight
  for name in ("state/params", "state/tx"):
    assert abs(_bytes(one, name) / _bytes(eight, name) - 8) < 0.01, name
  assert _bytes(one, "data") == _bytes(eight, "data")
  for text in (one, eight):
    assert "at most 4 steps" in text and _bytes(text, "temporaries of a step") > 0
    assert float(re.search(r"FLOPs of a step +(\S+)", text)[1]) > 1000
  names = re.findall(r"state/\w+|data |temporaries of a step", one)
  parts = sum(_bytes(one, name) for name in names)
  assert abs(parts / _bytes(one, "in all") - 1) < 0.01


def test_a_layout_that_cannot_be_is_refused(graph, tmp_path):
  flags = training(graph, tmp_path / "run", "none", epochs=3)
  done = launch("train", *flags, "--dry_run", "--cpu_devices=4", "--config.mesh.data=3")
  refused(done, "does not cover the 4 device(s)")
  assert not (tmp_path / "run").exists()
