"""launch/bert_tickets/transfer.py on two small tasks: where tickets go, reused runs, faults named."""

import json
import shutil

import pytest
from laws.small_texts import small_config, write_texts

from launch.commands import launch, refused, succeeded
from vita_jax.train.finish import read_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
  """(texts, {name: workdir}) of two finished runs of method imp whose tasks differ in their labels."""
  folder = write_texts(tmp_path_factory.mktemp("texts"))
  found = {}
  for name in ("plain", "turned"):
    config = small_config(folder, "imp", sparsity=0.1, seeds=2)
    if name == "turned":
      text = (folder / "train.tsv").read_text()
      config.data.train = str(folder / "turned.tsv")
      swapped = text.replace("\t0\n", "\tx\n").replace("\t1\n", "\t0\n").replace("\tx\n", "\t1\n")
      (folder / "turned.tsv").write_text(swapped)
    flat = {
      k: v for k, v in _flat(config.to_dict()) if k not in ("paper", "task", "method", "starts", "tickets")
    }
    flags = [f"--config.{k}={v}" for k, v in flat.items()]
    found[name] = tmp_path_factory.mktemp(name)
    imp(found[name], *flags)
    if name == "plain":  # the same in parts, as launch/table.py --split=1 leaves them
      for seed in (0, 1):
        imp(found[name] / f"parts/seed_{seed}", *flags, f"--config.seed={seed}", "--config.seeds=1")
  return folder, found


def imp(workdir, *flags):
  succeeded(launch("train", "--config=configs/bert_tickets/custom.py:imp", f"--workdir={workdir}", *flags))


def _flat(content, prefix=""):
  for name, value in content.items():
    yield from _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]


def test_every_ticket_is_trained_on_every_task(sources, tmp_path):
  _, runs = sources
  names = ",".join(f"{name}={folder}" for name, folder in runs.items())
  flags = (f"--runs={names}", "--sparsity=0.1", f"--workdir={tmp_path}", "--controls=random")
  output = succeeded(launch("bert_tickets/transfer", *flags))
  assert output.startswith("# Transfer of tickets") and (tmp_path / "transfer.png").exists()
  expected = {
    *(f"{a}_0.1_to_{b}_seed_{s}" for a, b in (("plain", "turned"), ("turned", "plain")) for s in (0, 1)),
    *(f"{kind}_{name}" for kind in ("full", "random_0.1") for name in runs),
  }
  assert {p.name for p in (tmp_path / "runs").iterdir()} == expected
  config = read_config(tmp_path / "runs" / "plain_0.1_to_turned_seed_1")
  assert config.seed == 1 and config.data.train.endswith("turned.tsv") and "plain_0.1_seed_1" in config.ticket
  own = json.loads((runs["plain"] / "summary.json").read_text())["metrics"]["theta0_10_accuracy"]["values"]
  assert " ".join(map(repr, own)) in (tmp_path / "transfer.csv").read_text()
  before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("summary.json")}
  assert succeeded(launch("bert_tickets/transfer", *flags)) == output
  assert before == {p: p.stat().st_mtime_ns for p in before}
  refused(
    launch("bert_tickets/transfer", *flags[:1], "--sparsity=0.5", flags[2]),
    "no ticket of sparsity 0.5, but of 0.1",
  )


def test_runs_of_single_seeds_are_one_source(sources, tmp_path):
  _, runs = sources
  names = f"--runs=plain={runs['plain'] / 'parts'},turned={runs['turned']}"
  succeeded(launch("bert_tickets/transfer", names, "--sparsity=0.1", f"--workdir={tmp_path}", "--controls="))
  own = json.loads((runs["plain"] / "summary.json").read_text())["metrics"]["theta0_10_accuracy"]["values"]
  assert " ".join(map(repr, own)) in (tmp_path / "transfer.csv").read_text()
  assert read_config(tmp_path / "runs" / "full_plain").seeds == 2
  holes = shutil.copytree(runs["plain"] / "parts", tmp_path / "holes")
  text = (holes / "seed_1/config.json").read_text()
  (holes / "seed_1/config.json").write_text(text.replace('"seed": 1,', '"seed": 2,'))
  flags = (f"--runs={holes}", "--sparsity=0.1", f"--workdir={tmp_path / 'T'}")
  refused(launch("bert_tickets/transfer", *flags), "no run of seed 1")


def test_runs_that_cannot_give_tickets_are_named(sources, tmp_path):
  refused(
    launch("bert_tickets/transfer", f"--runs={tmp_path}", f"--workdir={tmp_path / 'T'}"), "holds no run"
  )
