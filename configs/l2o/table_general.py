"""The general optimizer on problems that it never saw, beside eight classical ones: five rates of each.

  python launch/table.py --suite=configs/l2o/table_general.py --workdir=runs/general
  python launch/l2o/optimize.py --optimizer=$OPTIMIZERS --task=$TASKS --schedule=cosine --steps=400 \\
    --seeds=3 --rates=1e-4,1e-3,1e-2,1e-1,1 --tuning_seeds=1 --split=train --workdir=runs/general

Each row is a problem, an optimizer and a rate with a cosine decay to 0 over 400 steps, on one seed of another
random stream than those of reports; --rows=REGEX picks some. The second command does the same, reports the
best rate of each, paired with Adam, and counts wins over the problems; its OPTIMIZERS and TASKS are the lists
in this file, with commas. Optimizers: vita-mlp (untrained until one ships), adam, adamw, rmsprop, momentum,
lion, muon, adafactor, schedule_free_adamw. Problems: an MNIST CNN, a small BERT on SST-2, a GCN on Citeseer,
an MLP on a PU risk, one on credit data, a regression whose optimum is far away, a denoiser of photographs, a
network of 1.4 million parameters. A problem of your own is added as package.module:function. Hardware: CPU;
time and number are not measured yet (by FLOPs some 4 hours on 2 free cores, most of them the BERT, the
denoiser and the wide network); about 2 GB of memory for the largest. Data comes from $VITA_DATA_DIR.
"""

from vita_jax.optim.comparison import Protocol, entrant, tuning_row

OPTIMIZERS = (
  "untrained-vita_mlp",
  "adam",
  "adamw",
  "rmsprop",
  "momentum",
  "lion",
  "muon",
  "adafactor",
  "schedule_free_adamw",
)
UNSEEN = "vita_jax.optim.unseen"
TASKS = (
  "mnist_conv",
  f"{UNSEEN}:bert_tiny",
  f"{UNSEEN}:citeseer_gcn",
  f"{UNSEEN}:nnpu_mlp",
  f"{UNSEEN}:credit_mlp",
  "far_regression",
  f"{UNSEEN}:denoising_unet",
  "mnist_wide",
)
PROTOCOL = Protocol(
  steps=400,
  seeds=3,
  split="train",
  grid=(1e-4, 1e-3, 1e-2, 1e-1, 1.0),
  tuning_seeds=1,
  schedule="cosine",
)


def get_suite():
  return tuple(
    tuning_row(task, entrant(name), PROTOCOL, rate)
    for task in TASKS
    for name in OPTIMIZERS
    for rate in PROTOCOL.grid
  )
