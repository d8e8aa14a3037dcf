"""The configuration that all BERT-ticket experiments share."""

from __future__ import annotations

import ml_collections

from vita_jax.base.choose import choose
from vita_jax.train.config import base_config

STARTS = ("theta0", "shuffled", "shuffled_entries", "random_reinit", "trained")
# method -> (where the mask comes from, what the tickets start from)
MEANING = {
  "full": ("none", ("theta0",)),
  "imp": ("search", ("theta0",)),
  "oneshot": ("magnitude", ("theta0",)),
  "random": ("random", ("theta0",)),
  "shuffled": ("search", ("shuffled",)),
  "random_reinit": ("search", ("random_reinit",)),
  "standard": ("search", ("trained",)),
}
METHODS = tuple(MEANING)
CHOICES = {
  "pruning.schedule": ("linear", "geometric"),
  "pruning.scope": ("global", "layer"),
  "head": ("rewind", "keep"),
  "imp_schedule": ("round", "as_released"),
  "rewind_to": ("theta0", "none"),
  "random_masks": ("global", "layerwise"),
}
AT_LEAST = {
  "batch_size": 1,
  "epochs": 0,
  "steps": 0,
  "learning_rate": 0,
  "clip_norm": 0,
  "eval_every": 0,
  "data.max_length": 8,
  "data.train_rows": 0,
  "data.dev_rows": 0,
  "data.bucket": 8,
  "data.window": 1,
}
TASKS = {  # the paper's settings that differ from SST-2's
  "squad": {"learning_rate": 3e-5, "batch_size": 16, "epochs": 2.0, "data.max_length": 384},
  "mlm": {"learning_rate": 5e-5, "batch_size": 16, "steps": 10_000, "data.max_length": 512},
}


def default_config(task: str, method: str) -> ml_collections.ConfigDict:
  """The paper's settings for one task: a GLUE task, "squad", "mlm", or "custom" for a user's TSV.

  Args:
    task: see `tasks.py`.
    method: one of `METHODS`; "" is "imp".

  Raises:
    ValueError: unknown method.
  """
  method = choose("method", method or "imp", METHODS)
  config = base_config()
  config.update(
    {
      "paper": "bert_tickets",
      "task": task,
      "method": method,
      "log_every": 100,
      "replicate": "map",  # seeds one after the other: a step fills the machine
      # a Hugging Face folder, or the name of a prepared one; "" trains from random weights, of these sizes
      "model": {
        "path": "bert-base-uncased",
        "vocab": "",  # folder of a vocab.txt; "" is the model's own
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 512,
        "dropout": 0.1,  # from random weights only; a folder says its own
        "remat": False,
      },
      "data": {
        "train": "",  # a user's file: TSV (custom, or any GLUE task), SQuAD JSON, or text (mlm)
        "dev": "",
        "kind": "classification",  # of custom: "classification" | "regression"
        "max_length": 128,
        "train_rows": 0,  # the first so many, in an order of its own; 0 for all
        "dev_rows": 0,
        "bucket": 16,  # the shortest static length; each further one doubles it
        "window": 16,  # batches whose rows are sorted by length together; 1 for none
      },
      "batch_size": 32,
      "epochs": 3.0,  # of one training
      "steps": 0,  # of one training; 0: as `epochs` says
      "learning_rate": 2e-5,  # Adam, linear to zero over one training
      "clip_norm": 1.0,
      "eval_every": 0,
      "sparsity": 0.7,  # of the pruned matrices, not of the whole model
      "tickets": (),  # lower sparsities at which tickets are trained as well, from one search
      "starts": MEANING[method][1],  # what each mask is put on, one training each
      "ticket": "",  # a file of launch/export.py: its mask instead of a search
      "pruning": {"schedule": "linear", "rate": 0.1, "scope": "global"},
      "rewind": 0.0,  # to the weights after this share of a training; 0 is θ0
      "rewind_to": "theta0",  # "none": search rounds go on from the trained weights (the released MLM script)
      "head": "rewind",  # in the search; "keep": it stays as trained (the released code)
      # "round": linear to zero in each round; "as_released": to zero over 1 / rate rounds, begun anew in each
      "imp_schedule": "round",
      "random_masks": "global",  # "layerwise": as many zeros in each matrix as a ticket has (needs `ticket`)
    }
  )
  if method == "standard":
    config.rewind_to = "none"
  config.update_from_flattened_dict(TASKS.get(task, {}))
  return config
