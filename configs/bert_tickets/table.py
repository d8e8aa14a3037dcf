"""Tickets of a small real BERT: MiniLM-L3 on SST-2 and CoLA, IMP beside its controls.

  python launch/prepare_data.py --dataset=minilm_l3
  python launch/table.py --suite=configs/bert_tickets/table.py --workdir=runs/bert_tickets_table

The protocol is in HEADER; all else is as in the paper: 10 % of the weights per round, everything rewound,
tickets trained by themselves. One run of IMP per task gives the rows IMP, shuffled and re-initialised. SST-2
and CoLA are read from VITA_DATA_DIR or prepared TFDS. Hardware and time: 150 trainings of 70 to 85 s on one
CPU core, three hours and a half. Memory: 1.9 GB with --split=1, which trains seed after seed. The same
command resumes where it was stopped. Two cores are used best by two commands, `taskset -c 0 ...
--rows='^SST'` and `taskset -c 1 ... --rows='^CoLA'`, with GLIBC_TUNABLES=glibc.malloc.hugetlb=1. The paper's
numbers are BERT-base's, at its own sparsities: they are shown where the sparsity is the same. Numbers:
vita_jax/papers/bert_tickets/README.md.
"""

from vita_jax.compress.matching import last_matching
from vita_jax.report.suite import Row
from vita_jax.report.summary import paired_interval

HEADER = (
  "Reduced protocol, not the paper's: MiniLM-L3 (3 layers, hidden 384, pre-trained for sentence similarity,"
  " no pooler) instead of BERT-base; the first 8,000 training sentences of SST-2 in a fixed random order, all"
  " 8,551 of CoLA; one epoch per training (250 and 268 steps of 32); learning rate 1e-4, not tuned, and 3e-4"
  " for CoLA, which this model hardly learns; scores on the development set after the last step."
)
SPARSITIES = (50, 70, 90)
REDUCED = {
  "model.path": "minilm_l3",
  "data.bucket": 8,  # many phrases are this short: fewer tokens, the same numbers
  "epochs": 1.0,
  "seeds": 3,
  "sparsity": 0.9,
  "tickets": (0.5, 0.7),
}
# name -> config, metric, training rows (0: all), learning rate. CoLA's was chosen on 1,000 training sentences
# held out (cola.py:full with --config.data.train and --config.data.dev): a Matthews of 0 at 1e-4 and at 1e-3,
# 0.08 at 3e-4, and no more than 0.11 there after three epochs.
TASKS = {"SST-2": ("sst2", "accuracy", 8000, 1e-4), "CoLA": ("cola", "matthews", 0, 3e-4)}
METHODS = ("IMP", "one-shot", "random mask", "IMP, shuffled weights", "IMP, random weights")
# What the paper reports of BERT-base (mean, std), read off figures of its repository.
PAPER = {
  ("SST-2", "full", 0): (0.921, 0.001),
  ("CoLA", "full", 0): (0.545, 0.004),
  ("CoLA", "IMP", 50): (0.538, 0.009),
}


def get_suite():
  rows = []
  for name, (task, metric, train_rows, rate) in TASKS.items():
    common = {**REDUCED, "data.train_rows": train_rows, "learning_rate": rate}
    imp = {**common, "starts": ("theta0", "shuffled", "random_reinit")}
    # config argument, overrides, start, run
    trained = (
      ("imp", imp, "theta0", f"{task} imp"),
      ("oneshot", common, "theta0", f"{task} oneshot"),
      ("random", common, "theta0", f"{task} random"),
      ("imp", imp, "shuffled", f"{task} imp"),
      ("imp", imp, "random_reinit", f"{task} imp"),
    )
    full = f"{name} full"
    config = f"configs/bert_tickets/{task}.py"
    rows.append(_row(name, "full", 0, full, f"{config}:full", common, metric, "", f"{task} full"))
    for sparsity in SPARSITIES:
      for method, (argument, overrides, start, run) in zip(METHODS, trained, strict=True):
        label, shown = f"{name} {method} {sparsity} %", f"{start}_{sparsity}_{metric}"
        rows.append(_row(name, method, sparsity, label, f"{config}:{argument}", overrides, shown, full, run))
  return tuple(rows)


def _row(name, method, sparsity, label, config, overrides, metric, baseline, run):
  paper = PAPER.get((name, method, sparsity))
  source = "(BERT-base)" if paper else ""
  return Row(label, config, overrides, metric, baseline, paper, source, run=run)


def finish(summaries, workdir):
  """Markdown for the end of the table: last sparsities that match the full model; IMP minus its controls."""
  del workdir
  rows = [row for row in get_suite() if row.label in summaries]
  values = {row.label: summaries[row.label]["metrics"][row.metric]["values"] for row in rows}
  values = {label: found for label, found in values.items() if None not in found}
  text = []
  for name in TASKS:
    tickets = {m: {s: values.get(f"{name} {m} {s} %", []) for s in SPARSITIES} for m in METHODS}
    text += [f"- {name}, {line}" for line in _last_matching(tickets, values.get(f"{name} full", []))]
    text += [f"- {name}, {line}" for line in _differences(tickets)]
  return "\n".join(["", *text, ""]) if text else ""


def _last_matching(tickets, full):
  for method, found in tickets.items() if len(full) > 1 else ():
    if found := {s: v for s, v in found.items() if v}:
      best = [last_matching(found, full, rule=rule) for rule in ("own_std", "mean")]
      own_std, mean = ("none" if s is None else f"{s} %" for s in best)
      rules = f"{own_std} (mean + std reaches the full mean), {mean} (the mean does)"
      yield f"{method}: last matching sparsity {rules}"


def _differences(tickets):
  for method in METHODS[1:]:
    pairs = {s: paired_interval(tickets["IMP"][s], v) for s, v in tickets[method].items()}
    line = "{} %: {:+.2f} [{:+.2f}, {:+.2f}]"
    if shown := [line.format(s, *(100 * x for x in pair)) for s, pair in pairs.items() if pair]:
      yield f"IMP minus {method}, points: {', '.join(shown)}"
