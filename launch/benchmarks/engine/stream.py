"""Streaming a data set that is larger than the memory of the process: whether the input keeps up.

The parent writes array_record files of `gigabytes` (kept in --folder for the next time). The worker, limited
to --limit bytes of private memory by the kernel (RLIMIT_DATA), trains a network on them with `train.run`
through `Stream`, in turns with the same step on one batch that stays on the device, and with reading alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import answer, print_table

SHAPE = (64, 64, 8)  # 32 kB per row
ROWS_A_FILE, BATCH, STEPS = 16_384, 64, 200
LIMIT = 2.0  # gigabytes of private memory


def main(*, gigabytes: float = 4.0, folder: str | Path = "/tmp/vita_jax_stream") -> None:
  n_rows = round(gigabytes * 1e9 / np.prod(SHAPE))
  folder = Path(folder) / f"{n_rows}_rows"  # one data set a size
  files = write(folder, n_rows)
  size = sum(f.stat().st_size for f in files) / 1e9
  rows = [
    [
      "workers",
      "reading alone, rows/s",
      "step alone, rows/s",
      "train.run, rows/s",
      "of the slower",
      "peak RSS, MB",
      "private, MB",
    ]
  ]
  for workers in (0, 2):
    found = answer("engine.stream", folder, f"--limit={LIMIT}", f"--workers={workers}")
    slower = min(found["reading"], found["step"])
    numbers = [f"{found[name]:,.0f}" for name in ("reading", "step", "training")]
    rows.append(
      [
        str(workers),
        *numbers,
        f"{found['training'] / slower:.0%}",
        f"{found['rss']:,.0f}",
        f"{found['private']:,.0f}",
      ]
    )
  title = f"{size:.1f} GB of array_record, batches of {BATCH}; private memory limited to {LIMIT} GB"
  print_table(title, rows)


def write(folder: Path, n_rows: int) -> list[Path]:
  """Writes random images and labels as array_record files; files that are there are taken as they are."""
  from array_record.python.array_record_module import ArrayRecordWriter

  folder.mkdir(parents=True, exist_ok=True)
  made = []
  for first in range(0, n_rows, ROWS_A_FILE):
    path = folder / f"rows_{first:09d}.array_record"
    made.append(path)
    if path.exists():
      continue
    generator = np.random.default_rng(first)
    partial = path.with_suffix(".partial")
    writer = ArrayRecordWriter(str(partial), "group_size:1,uncompressed")
    for _ in range(min(ROWS_A_FILE, n_rows - first)):
      label = generator.integers(10, dtype=np.uint8)
      writer.write(label.tobytes() + generator.bytes(int(np.prod(SHAPE))))
    writer.close()
    partial.rename(path)
  return made


def decode(record: bytes, rng: np.random.Generator) -> dict[str, Any]:
  """Returns a record as a row."""
  del rng  # nothing is drawn
  image = np.frombuffer(record, np.uint8, offset=1).reshape(SHAPE)
  return {"image": image, "label": np.int32(record[0])}


def _serve(folder: Path, limit: float, workers: int) -> dict[str, float]:
  import resource

  resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 1e9),) * 2)
  import grain
  import jax

  from vita_jax.data.stream import Stream, batches

  source = grain.sources.ArrayRecordDataSource([str(path) for path in sorted(folder.glob("*.array_record"))])
  data = Stream(source, BATCH, remainder="drop", transform=decode, workers=workers, prefetch=4)
  cache = tempfile.TemporaryDirectory()  # the second run of `_speed` finds its programs
  jax.config.update("jax_compilation_cache_dir", cache.name)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  found = {"reading": 0.0, "step": 0.0, "training": 0.0}
  iterator = batches(data, 0)
  for _ in range(STEPS // 4):  # the workers start
    next(iterator)
  began = time.perf_counter()
  for _ in range(STEPS):
    next(iterator)
  found["reading"] = STEPS * BATCH / (time.perf_counter() - began)
  iterator.close()
  found["step"] = _speed(_still(data))
  found["training"] = _speed(data)
  status = Path("/proc/self/status").read_text()
  kilobytes = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.endswith("kB")}
  return found | {"rss": int(kilobytes["VmHWM"]) / 1e3, "private": int(kilobytes["VmData"]) / 1e3}


def _still(data):
  """The same step on rows that are on the device."""
  from vita_jax.data.resident import Resident
  from vita_jax.data.stream import read_batch

  rows = read_batch(data, 0, 0)
  return Resident({"image": rows["image"], "label": rows["label"]}, BATCH, order="rows")


def _speed(data) -> float:
  """Rows per second of `train.run`, between a short run and a longer one."""
  from vita_jax import train

  spent = []
  for steps in (2, STEPS // 4, STEPS + STEPS // 4):  # the first one compiles
    config = train.base_config()
    config.update({"paper": "stream", "steps_per_call": 1})
    with tempfile.TemporaryDirectory() as workdir:
      began = time.perf_counter()
      train.run(_experiment(data, steps), config, workdir, quiet=True)
      spent.append(time.perf_counter() - began)
  return STEPS * BATCH / (spent[2] - spent[1])


def _experiment(data, steps: int):
  import jax
  import jax.numpy as jnp
  import optax

  from vita_jax import train

  tx = optax.sgd(1e-3)

  def init(key):
    one, two = jax.random.split(key)
    params = {
      "w": jax.random.normal(one, (int(np.prod(SHAPE)), 64)) * 0.01,
      "v": jax.random.normal(two, (64, 10)) * 0.1,
    }
    return {"params": params, "tx": tx.init(params)}

  def step(state, batch, t):
    def loss(params):
      x = batch["image"].reshape(BATCH, -1).astype(jnp.float32) / 255 - 0.5
      logits = jax.nn.relu(x @ params["w"]) @ params["v"]
      return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]))

    value, gradient = jax.value_and_grad(loss)(state["params"])
    updates, moments = tx.update(gradient, state["tx"])
    return {"params": optax.apply_updates(state["params"], updates), "tx": moments}, {
      "loss": (value, jnp.float32(1))
    }

  return train.Experiment(init, (train.Stage("train", steps, step, data),), lambda state: state["params"])


if __name__ == "__main__":
  from absl import flags

  flags.FLAGS(["stream"])  # grain's worker processes want them parsed
  parser = argparse.ArgumentParser()
  parser.add_argument("folder", type=Path)
  parser.add_argument("--limit", type=float)
  parser.add_argument("--workers", type=int)
  chosen = parser.parse_args()
  print(json.dumps(_serve(chosen.folder, chosen.limit, chosen.workers)))
