"""Bad input of every kind through the launch scripts: one clear line each, and no half a workdir.

  python tests/faults/fuzz.py --examples=600

Hypothesis makes flags that a config cannot have, graphs (npz) that are damaged or wrong, and weight files
that are. Each goes through a launch script in a process forked from this one. Wrong is: a traceback, no line
that starts with "error: ", an exit code but 0, 1 or 2, more than a minute, or a workdir without its config.
Input that turns out to be good (exit code 0) is not counted.
"""

from __future__ import annotations

import argparse
import io
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "launch"), str(ROOT / "tests")]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis.strategies as st  # noqa: E402
import numpy as np  # noqa: E402
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from laws.small_graph import write_small_graph  # noqa: E402

SECONDS = 60
CUSTOM = f"--config={ROOT}/configs/ss_gcn/custom.py:partition"
SMALL = ["--config.epochs=2", "--config.ss.gcn.n_outputs=3"]
KEYS = (
  "seed seeds replicate dtype mesh mesh.seed mesh.data mesh.model on_nonfinite init_from log_every"
  " steps_per_call save_seconds keep_checkpoints host task mechanism protocol epochs features data.path"
  " hidden dropout learning_rate weight_decay ss ss.gcn ss.gcn.weight ss.gcn.n_outputs"
  " paper nonsense data mesh.nonsense weight_decay_on labels_seed normalization pretrain.epochs"
).split()
VALUES = (
  "",
  "nan",
  "inf",
  "-inf",
  "-1",
  "0",
  "1e400",
  "abc",
  "[1",
  "None",
  "True",
  "-0.5",
  "2.5",
  "'",
  "é",
  "/",
  ".",
  "9" * 30,
)


class Case(NamedTuple):
  """What is typed, and the files that it names."""

  kind: str
  script: str
  flags: tuple[str, ...]
  files: tuple[tuple[str, bytes], ...] = ()


def good_arrays() -> dict[str, np.ndarray]:
  with tempfile.TemporaryDirectory() as folder, np.load(write_small_graph(Path(folder) / "g.npz")) as arrays:
    return dict(arrays)


def as_npz(arrays: dict[str, Any]) -> bytes:
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)
  return buffer.getvalue()


@st.composite
def typed(draw) -> Case:
  key = draw(st.one_of(st.sampled_from(KEYS), st.text("abcdefgxyz._", min_size=1, max_size=12)))
  value = draw(st.one_of(st.sampled_from(VALUES), st.text(max_size=8).filter(lambda t: "\0" not in t)))
  return Case(
    "flags", "train", (CUSTOM, "--config.data.path=FOLDER/g.npz", *SMALL, f"--config.{key}={value}"), GOOD
  )


@st.composite
def graphs(draw) -> Case:
  arrays = dict(ARRAYS)
  for _ in range(draw(st.integers(1, 2))):
    key = draw(st.sampled_from(sorted(arrays)))
    x = arrays[key]
    how = draw(st.sampled_from(("drop", "dtype", "shape", "value", "cut", "rename", "object", "empty")))
    if how == "drop" or how == "rename":
      x = arrays.pop(key)
      if how == "rename":
        arrays[key + "s"] = x
    elif how == "dtype" and x.dtype.kind in "iubf":
      arrays[key] = x.astype(draw(st.sampled_from(("float64", "complex64", "U4", "int8", "bool"))))
    elif how == "shape":
      arrays[key] = draw(st.sampled_from((x[None], x.ravel(), x[..., None], np.asarray(3))))
    elif how == "value" and x.size and x.dtype.kind in "iubf":
      values = (-7, 10**6, 2**31, -(2**40)) if x.dtype.kind in "iu" else (np.nan, np.inf, -np.inf, 1e39)
      x = x.astype(np.int64 if x.dtype.kind in "iub" else np.float64)
      x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from(values))
      arrays[key] = x
    elif how == "cut":
      arrays[key] = x[: len(x) // 2] if x.ndim else x
    elif how == "object":
      arrays[key] = np.array([{"a": 1}], dtype=object)
    elif how == "empty":
      arrays[key] = x[:0] if x.ndim else x
    if not arrays:
      break
  return Case(
    "graph", "train", (CUSTOM, "--config.data.path=FOLDER/g.npz", *SMALL), (("g.npz", as_npz(arrays)),)
  )


def damaged(draw, content: bytes) -> bytes:
  how = draw(st.sampled_from(("cut", "flip", "garbage", "empty", "text", "longer")))
  if how == "cut":
    return content[: draw(st.integers(0, len(content) - 1))]
  if how == "flip":
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
      changed[draw(st.integers(0, min(len(content), 4000) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)
  if how == "longer":
    return content + draw(st.binary(min_size=1, max_size=64))
  return {"garbage": draw(st.binary(max_size=200)), "empty": b"", "text": b"edges,features\n1,2\n"}[how]


@st.composite
def files(draw) -> Case:
  return Case(
    "file of a graph",
    "train",
    (CUSTOM, "--config.data.path=FOLDER/g.npz", *SMALL),
    (("g.npz", damaged(draw, GOOD[0][1])),),
  )


@st.composite
def weights(draw) -> Case:
  name = draw(st.sampled_from(sorted(EXPORT)))
  content = {**EXPORT, name: damaged(draw, EXPORT[name])}
  if draw(st.booleans()) and name == "params.safetensors":
    from safetensors.numpy import load, save

    tensors = load(EXPORT[name])
    key = draw(st.sampled_from(sorted(tensors)))
    x = tensors.pop(key)
    change = draw(st.sampled_from(("drop", "shape", "extra", "nan", "dtype")))
    if change != "drop":
      new = {"shape": x[None], "extra": x, "nan": np.full_like(x, np.nan), "dtype": x.astype(np.float16)}[
        change
      ]
      tensors[key] = new
    if change == "extra":
      tensors["more"] = np.ones(3, np.float32)
    content[name] = save(tensors)
  flags = ("--optimizer=mine=FOLDER/export", "--task=digits_mlp", "--steps=100", "--seeds=1")
  return Case("weights", "l2o/optimize", flags, tuple((f"export/{k}", v) for k, v in content.items()))


@st.composite
def starts(draw) -> Case:
  content = damaged(draw, EXPORT["params.safetensors"])
  flags = (CUSTOM, "--config.data.path=FOLDER/g.npz", *SMALL, "--config.init_from=FOLDER/other")
  return Case("init_from", "train", flags, (*GOOD, ("other/export/params.safetensors", content)))


def run(case: Case) -> tuple[str, str]:
  """(verdict, stderr) of a case in a forked process."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    for file, content in case.files:
      (folder / file).parent.mkdir(parents=True, exist_ok=True)
      (folder / file).write_bytes(content)
    flags = [flag.replace("FOLDER", name) for flag in case.flags]
    child = os.fork()
    if child == 0:
      with (folder / "stderr").open("w") as errors, (folder / "stdout").open("w") as output:
        os.dup2(errors.fileno(), 2)
        os.dup2(output.fileno(), 1)
        os.chdir(folder)
        sys.argv = [f"launch/{case.script}.py", *flags, f"--workdir={folder / 'run'}"]
        code = 1
        try:
          runpy.run_path(str(ROOT / "launch" / f"{case.script}.py"), run_name="__main__")
        except SystemExit as error:
          code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
          import traceback

          traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    code = _wait(child)
    text = (folder / "stderr").read_text(errors="replace")
    if code is None:
      return "HANGS", text
    if "Traceback" in text:
      return "TRACEBACK", text
    if code == 0:
      return "good input", ""
    lines = text.strip().splitlines()
    if code not in (1, 2) or not lines or not lines[-1].startswith("error: "):
      return f"EXIT CODE {code}", text
    if (folder / "run").exists() and case.script == "train" and not (folder / "run" / "config.json").exists():
      return "HALF A WORKDIR", text
    return "one clear line", lines[-1]


def _wait(child: int) -> int | None:
  end = time.monotonic() + SECONDS
  while time.monotonic() < end:
    process, status = os.waitpid(child, os.WNOHANG)
    if process:
      return os.waitstatus_to_exitcode(status)
    time.sleep(0.01)
  os.kill(child, signal.SIGKILL)
  os.waitpid(child, 0)
  return None


def main(examples: int, *, verbose: bool) -> Counter:
  """Returns {(kind, verdict): count}; prints every case whose verdict is in capitals."""
  counts: Counter = Counter()
  lines = set()

  def check(case: Case) -> None:
    verdict, text = run(case)
    counts[case.kind, verdict] += 1
    if verdict.isupper() or verdict.startswith("EXIT"):
      print(f"{verdict}: {case.script} {' '.join(map(repr, case.flags))}\n{text[-1500:]}", flush=True)
    elif verbose and text not in lines:
      lines.add(text)
      print(f"  {text[:200]}", flush=True)

  share = {typed: 5, graphs: 5, files: 2, weights: 3, starts: 1}
  for kind, parts in share.items():
    options = settings(
      max_examples=max(1, examples * parts // sum(share.values())),
      deadline=None,
      derandomize=True,
      database=None,
      phases=[Phase.generate],
      suppress_health_check=list(HealthCheck),
    )
    options(given(kind())(check))()
  return counts


ARRAYS = good_arrays()
GOOD = (("g.npz", as_npz(ARRAYS)),)
EXPORT: dict[str, bytes] = {}


def _read_export(folder: Path) -> None:
  """A good export of a tiny meta-training run, made by the launch script itself."""
  import subprocess

  from launch.commands import environment

  flags = [
    "--config=configs/l2o/mlp.py:plain",
    "--config.optimizee.name=digits_mlp",
    "--config.inner_steps=40",
  ]
  flags += [
    "--config.final.steps=100",
    "--config.final.runs=1",
    "--config.validation.runs=1",
    "--config.unroll_length=5",
  ]
  flags += [f"--workdir={folder}", "--config.stages=(10,)", "--config.validation.every=1"]
  subprocess.run(
    [sys.executable, "launch/train.py", *flags], cwd=ROOT, env=environment(), check=True, capture_output=True
  )
  for file in (folder / "export").iterdir():
    EXPORT[file.name] = file.read_bytes()


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--examples", type=int, default=600)
  parser.add_argument("--verbose", action="store_true", help="print each kind of line once")
  chosen = parser.parse_args()
  made = Path(tempfile.mkdtemp())
  _read_export(made)
  shutil.rmtree(made)
  # Imported once, before the forks; JAX itself starts in each child.
  import vita_jax.papers.l2o  # noqa: E402, F401
  import vita_jax.papers.ss_gcn  # noqa: E402, F401
  import vita_jax.train.loop  # noqa: E402, F401

  found = main(chosen.examples, verbose=chosen.verbose)
  for (kind, verdict), count in sorted(found.items()):
    print(f"{count:>5}  {kind}: {verdict}")
  bad = sum(count for (_, verdict), count in found.items() if verdict != "good input")
  print(f"{bad:>5}  bad inputs")
  sys.exit(1 if any(v.isupper() or v.startswith("EXIT") for _, v in found) else 0)
