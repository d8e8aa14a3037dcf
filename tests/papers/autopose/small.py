"""A task of seconds that needs no file: generated figures of 32 x 32, two branches, one cell each."""

from vita_jax.papers.autopose.recipe import default_config


def config(step="search", **overrides):
  """A config of seconds."""
  found = default_config(step)
  found.data.update({"name": "figures", "size": (32, 32), "count": (40, 10), "sigma": 1.0})
  found.space.update({"stages": 2, "branches": 2, "cells": 1})
  found.model.update({"channels": 4, "stem": 4})
  if found.search.steps:
    found.search.update({"steps": 12, "warm": 3, "batch": 6, "round": 2, "rate": 1e-2})
  found.controller.update({"steps": 1, "samples": 2, "observed": 2, "hidden": 8, "rate": 1e-2})
  found.evolution.update({"population": 3, "tournament": 2})
  found.derive.update({"candidates": 3, "batches": 2, "keep": 2})
  if found.train.steps:
    found.train.update({"steps": 6, "batch": 6, "warmup": 2})
  found.log_every = 4
  found.update_from_flattened_dict(overrides)
  return found
