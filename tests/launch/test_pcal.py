"""The commands of PCAL on a user's CSV: train, export, encode, audit; and what they refuse."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from papers.pcal import small

from launch.commands import environment, launch, refused, succeeded

SETTINGS = {
  "encoder_widths": "(8,)",
  "latent": 2,
  "head_widths": "(4,)",
  "batch_size": 32,
  "pretrain_steps": 5,
  "steps": 10,
  "refit_steps": 5,
  "adversary.widths": "((),)",
  "adversary.steps": 1,
  "restart.every": 0,
  "audit.attackers": "fast",
  "audit.n_jobs": 1,
}


def _write(path, columns):
  with path.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
  return path


def _columns(n=300, seed=0):
  return {**small.columns(n, seed), "code": np.arange(n) % 3 + 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """(folder, flags of the training) with a finished, exported run in folder/run and the rows in rows.csv."""
  folder = tmp_path_factory.mktemp("pcal")
  rows = _write(folder / "rows.csv", _columns())
  schema = {**small.SCHEMA, "categorical": ["job", "code"]}
  (folder / "schema.json").write_text(json.dumps(schema))
  flags = ["--config=configs/pcal/custom.py:s", f"--config.data.path={rows}"]
  flags += [f"--config.data.schema={folder / 'schema.json'}"]
  flags += [f"--config.{name}={value}" for name, value in SETTINGS.items()]
  output = succeeded(launch("train", *flags, f"--workdir={folder / 'run'}"))
  assert "attack_auc" in output and "in_training_auc" in output
  assert "not differential privacy" in (folder / "run" / "audit.md").read_text()
  succeeded(launch("export", f"--workdir={folder / 'run'}"))
  return folder, flags


def _encode(folder, source, target, *more):
  return launch(
    "pcal/encode", f"--encoder={folder / 'run' / 'export'}", f"--in={source}", f"--out={target}", *more
  )


def test_new_rows_are_encoded_in_chunks_and_alike_without_vita_jax(run, tmp_path):
  folder, _ = run
  new = _columns(50, seed=1)
  new["code"] = [f"{code}.0" for code in new["code"]]  # as a file of floats has what another has as integers
  source = _write(tmp_path / "new.csv", {name: new[name] for name in ("job", "code", "amount", "v", "u")})
  succeeded(_encode(folder, source, tmp_path / "Z.npz", "--rows=20"))
  found = dict(np.load(tmp_path / "Z.npz"))
  assert found["z"].shape == (50, 2) and found["probability"].shape == (50,)
  elsewhere = tmp_path / "elsewhere"
  elsewhere.mkdir()
  for name in ("params.safetensors", "program.jax", "transform.py"):
    shutil.copy(folder / "run" / "export" / name, elsewhere)
  command = [sys.executable, elsewhere / "transform.py", source, tmp_path / "alone.npz"]
  done = subprocess.run(
    command, capture_output=True, text=True, env=environment(PYTHONPATH=None), cwd=elsewhere
  )
  assert done.returncode == 0, done.stderr[-2000:]
  np.testing.assert_allclose(np.load(tmp_path / "alone.npz")["z"], found["z"], atol=1e-5)


@pytest.mark.slow
def test_a_representation_from_anywhere_is_audited(run, tmp_path):
  """By all attackers, in as many processes as there are cores: what a user gets who sets nothing."""
  folder, _ = run
  rows = folder / "rows.csv"
  succeeded(_encode(folder, rows, tmp_path / "Z.npz"))

  def audit(*flags):
    return launch("pcal/audit", f"--representation={tmp_path / 'Z.npz'}", f"--workdir={tmp_path}", *flags)

  output = succeeded(audit(f"--private={rows}:s,{rows}:log(wage)", f"--target={rows}:bad"))
  assert "s: strongest attacker AUC" in output and "R²" in output
  found = json.loads((tmp_path / "audit.json").read_text())["private"]
  assert found.keys() == {"s", "log(wage)"}
  assert {a["family"] for a in found["s"]["attackers"]} >= {"quadratic", "forest", "kernel", "MLP"}
  assert (tmp_path / "audit.png").exists() and (tmp_path / "audit.md").exists()
  output = succeeded(audit(f"--private={rows}:s", f"--groups={rows}:id", "--attackers=fast"))
  assert "not differential privacy" in output
  assert "one of the given groups" in (tmp_path / "audit.md").read_text()
  refused(audit(f"--private={rows}:t"), "no column 't'")
  refused(audit(f"--private={rows}:s", f"--target={rows}:s == 0"), "'s' equals the target")
  new = _write(tmp_path / "new.csv", small.columns(50))
  refused(audit(f"--private={new}:s"), "50 rows", "300")


@pytest.mark.slow
def test_commands_that_cannot_be(run, tmp_path):
  folder, flags = run
  refused(
    launch("train", *flags, "--config.attributes=('z',)", f"--workdir={tmp_path}"), "no private attribute 'z'"
  )
  refused(launch("train", *flags, "--config.data.schema=no.json", f"--workdir={tmp_path}"), "no file no.json")
  other = _write(tmp_path / "other.csv", {"U" if k == "u" else k: v for k, v in _columns(50).items()})
  refused(_encode(folder, other, tmp_path / "no.npz"), "no column 'u'", "nearest: 'U'")
  assert not (tmp_path / "no.npz").exists()
  refused(
    launch("pcal/encode", f"--encoder={tmp_path}", "--in=a.csv", f"--out={tmp_path}/z.npz"), "no encoder at"
  )
