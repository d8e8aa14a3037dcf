"""Measures speed and memory, as ratios with CPU seconds beside the clock: python launch/benchmark.py WHAT

  launch/benchmark.py ss_gcn [--graph=cora]   one epoch against PyTorch Geometric (extra [bench])
  launch/benchmark.py ss_gcn_attack           1,000 targets of Nettack: seconds of each, and memory
  launch/benchmark.py l2o                     meta-gradients, their memory, updates against optax.adam
  launch/benchmark.py self_pu [--images=...]  an MNIST epoch, calibration, nnPU against torch (extra [bench])
  launch/benchmark.py pcal [--steps=3000]     one run, replicated seeds, fairlearn (torch, if installed)
  launch/benchmark.py bert [--models=tiny]    a fine-tune step against transformers (extra [bench]); pruning
  launch/benchmark.py adv_logo                a training step against its detector alone
  launch/benchmark.py gan_slimming            a slimming step against torch (extra [bench]); stylising
  launch/benchmark.py render [--sizes=1000]   texture and silhouette gradients against Mitsuba 3
  launch/benchmark.py loop [--seconds=10]     train.run beyond a bare jitted loop of the same step
  launch/benchmark.py scale                   10^4 to 10^6 nodes: seconds and bytes per edge
  launch/benchmark.py shards                  propagation with the edges spread over 1, 2 and 4 devices
  launch/benchmark.py stream [--gigabytes=4]  a data set larger than the process's memory, streamed
  launch/benchmark.py gpu                     checks and steps on a GPU or TPU (make gpu)
  launch/benchmark.py import                  imports beyond jax, and the time to the first finished step

What is compared takes turns in one process tree, so that a busy machine slows both sides; medians over
--repeats. --graph=cora or pubmed and --images=mnist need VITA_DATA_DIR. Shorter: --repeats=3 --seconds=2.
"""

from __future__ import annotations

from absl import app, flags, logging

from vita_jax import help as script_help

PARTS = [
  "ss_gcn",
  "ss_gcn_attack",
  "l2o",
  "self_pu",
  "pcal",
  "bert",
  "adv_logo",
  "gan_slimming",
  "render",
  "loop",
  "scale",
  "shards",
  "stream",
  "gpu",
  "import",
]
WHAT = flags.DEFINE_enum("what", None, PARTS, "Or first argument.")
GRAPH = flags.DEFINE_enum("graph", "citeseer", ["citeseer", "cora", "pubmed"], "Graph of ss_gcn.")
IMAGES = flags.DEFINE_enum("images", "mnist", ["mnist", "digits"], "Images of self_pu.")
SEEDS = flags.DEFINE_integer("seeds", 10, "Replicated seeds in ss_gcn (pcal: 5 unless given).", lower_bound=2)
STEPS = flags.DEFINE_integer("steps", 3000, "Outer steps of the whole run in pcal.", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 5, "Turns of each side (loop: 6 unless given).", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", None, "Seconds of each turn. Default: 5; loop: 10.", lower_bound=0.0)
SIZES = flags.DEFINE_list(
  "sizes", None, "Numbers of nodes in scale, edges in shards, parameters in l2o, faces in render."
)
MODELS = flags.DEFINE_list("models", ["tiny", "mini", "minilm_l3"], "Sizes of BERT.")
WEIGHTS = flags.DEFINE_integer("weights", 90_000_000, "Pruned weights in bert, at most.", lower_bound=1)
GIGABYTES = flags.DEFINE_float("gigabytes", 4.0, "Size of the files of stream, at least 1.", lower_bound=1.0)
FOLDER = flags.DEFINE_string(
  "folder", "/tmp/vita_jax_stream", "Where stream writes them, and finds them again."
)
ON_CPU = flags.DEFINE_bool("on_cpu", False, "Let gpu run a small part on a CPU, to try the command.")
EPOCHS = flags.DEFINE_integer("epochs", 5, "Timed epochs of each size in scale.", lower_bound=1)


def main(argv: list[str]) -> None:
  what = argv[1] if len(argv) == 2 and WHAT.value is None else WHAT.value
  if what not in MEASUREMENTS or (len(argv) > 1 and WHAT.value):
    script_help.fail(f"say what to measure, one of {', '.join(PARTS)}: launch/benchmark.py ss_gcn", 2)
  logging.set_verbosity(logging.WARNING)  # absl's app turns on INFO, which the loop's libraries use a lot
  try:
    MEASUREMENTS[what]()
  except (ValueError, OSError, ImportError, RuntimeError) as error:
    script_help.fail(str(error))


# Imported when chosen: a process started by `scale` inherits the peak memory of this one.
def _ss_gcn():
  from benchmarks.ss_gcn import compare

  compare.main(graph=GRAPH.value, seeds=SEEDS.value, repeats=REPEATS.value, seconds=_seconds(5))


def _ss_gcn_attack():
  from benchmarks.ss_gcn import attack

  attack.main(graph=GRAPH.value, targets=1000, budget=5)


def _l2o():
  from benchmarks.l2o import compare

  sizes = _sizes(1_000_000, 20_000_000)
  compare.main(sizes=sizes, repeats=REPEATS.value, seconds=_seconds(5))


def _self_pu():
  from benchmarks.self_pu import compare

  compare.main(images=IMAGES.value, repeats=REPEATS.value, seconds=_seconds(5))


def _pcal():
  from benchmarks.pcal import compare

  seeds = SEEDS.value if flags.FLAGS["seeds"].present else 5
  compare.main(seeds=seeds, steps=STEPS.value, repeats=REPEATS.value, seconds=_seconds(5))


def _bert():
  from benchmarks.bert_tickets import compare

  if unknown := sorted(set(MODELS.value) - set(compare.MODELS)):
    raise ValueError(f"--models={unknown[0]} is none of {', '.join(compare.MODELS)}")
  compare.main(models=MODELS.value, repeats=REPEATS.value, seconds=_seconds(5), weights=WEIGHTS.value)


def _adv_logo():
  from benchmarks.adv_logo import compare

  compare.main(repeats=REPEATS.value, seconds=_seconds(5))


def _gan_slimming():
  from benchmarks.gan_slimming import compare

  compare.main(repeats=REPEATS.value, seconds=_seconds(5))


def _render():
  from benchmarks.render import compare
  from benchmarks.render.shape import body

  shapes = [*map(str, _sizes(1_000, 27_000, 250_000)), *(["body"] if body() is not None else [])]
  compare.main(shapes=shapes, repeats=REPEATS.value, seconds=_seconds(2))


def _loop():
  from benchmarks.engine import loop

  loop.main(seconds=_seconds(10), repeats=REPEATS.value if flags.FLAGS["repeats"].present else 6)


def _scale():
  from benchmarks.ss_gcn import scale

  scale.main(sizes=_sizes(10_000, 100_000, 1_000_000), epochs=EPOCHS.value)


def _shards():
  from benchmarks.engine import shards

  shards.main(sizes=_sizes(100_000, 400_000, 1_000_000, 4_000_000), devices=(1, 2, 4), repeats=REPEATS.value)


def _stream():
  from benchmarks.engine import stream

  stream.main(gigabytes=GIGABYTES.value, limit_gigabytes=2.0, folder=FOLDER.value)


def _gpu():
  from benchmarks import gpu

  gpu.main(on_cpu=ON_CPU.value, seconds=_seconds(5))


def _import():
  from benchmarks.engine import start

  start.main(repeats=REPEATS.value)


def _seconds(default: float) -> float:
  return default if SECONDS.value is None else SECONDS.value


def _sizes(*default: int) -> list[int]:
  if SIZES.value is None:
    return list(default)
  if wrong := [size for size in SIZES.value if not size.isdecimal() or int(size) < 1]:
    script_help.fail(f"--sizes={','.join(SIZES.value)}: '{wrong[0]}' is no whole number of at least 1", 2)
  return [int(size) for size in SIZES.value]


MEASUREMENTS = {
  "ss_gcn": _ss_gcn,
  "ss_gcn_attack": _ss_gcn_attack,
  "l2o": _l2o,
  "self_pu": _self_pu,
  "pcal": _pcal,
  "bert": _bert,
  "adv_logo": _adv_logo,
  "gan_slimming": _gan_slimming,
  "render": _render,
  "loop": _loop,
  "scale": _scale,
  "shards": _shards,
  "stream": _stream,
  "gpu": _gpu,
  "import": _import,
}

if __name__ == "__main__":
  app.run(main, flags_parser=script_help.parse)
