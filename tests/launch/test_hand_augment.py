"""launch/mm_hand/augment.py and sheet.py: what they cannot do is one line."""

from launch.commands import launch, refused


def test_runs_that_are_not_there_are_named(tmp_path):
  gone, out = tmp_path / "none", f"--out={tmp_path / 'a.json'}"
  refused(launch("mm_hand/augment", f"--runs={gone}", out), f"no finished run in {gone}: train one")
  refused(launch("mm_hand/augment", f"--runs={gone}", "--out=/nowhere/a.json"), "a folder that exists")
  picture = f"--out={tmp_path / 'a.png'}"
  refused(launch("mm_hand/sheet", f"--runs={gone}", picture), f"no finished run in {gone}: train one")
  refused(launch("mm_hand/sheet", f"--runs={gone}", out), "must be a .png file in a folder that exists")
