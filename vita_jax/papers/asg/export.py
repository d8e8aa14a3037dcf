"""What a user takes away: the student as a program, its teacher, and the trained controller with a card."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax

from vita_jax.data.labelled import read_pictures
from vita_jax.optim.layerwise_files import save_controller
from vita_jax.papers.asg.controller import card_of
from vita_jax.papers.asg.data import Inputs
from vita_jax.papers.asg.model import Nets, see
from vita_jax.papers.asg.recipe import Recipe
from vita_jax.papers.asg.report import final_weights
from vita_jax.train.experiment import Exported, State
from vita_jax.train.weights import save_params

Tree = Any


def export(recipe: Recipe, nets: Nets, inputs: Inputs, state: State) -> Exported:
  """Exports the final student with its old head; `write` adds the teacher and a controller."""
  moved = nets.moved("top")
  params = {**final_weights(recipe, nets, state), "old": state["teacher"]["old"]}
  if state["teacher"]["stats"]:
    params["stats"] = state["teacher"]["stats"]
  side = "h, w" if recipe.pixels else f"{nets.teacher.size}, {nets.teacher.size}"
  shape = f"n, {side}, {nets.teacher.channels}"
  return Exported(
    params=jax.device_get(params),
    program=functools.partial(classify, moved),
    inputs={"image": (shape, "uint8")},
    read=functools.partial(
      read_pictures, size=nets.teacher.size, mode="L" if nets.teacher.channels == 1 else "RGB"
    ),
    card={
      "inputs": {"image": f"uint8 [{shape}], {'grey' if nets.teacher.channels == 1 else 'RGB'}"},
      "outputs": {
        "probabilities": "float32, of the new task's classes in the order of `classes`",
        "labels": "int32, the likeliest of them",
        "old_logits": "float32 [n, old classes], of the old head on the same features",
      },
      "classes": list(inputs.classes),
      "trained on": {"method": recipe.method, "pictures": inputs.source, "network": recipe.net.kind},
    },
    write=functools.partial(write_files, recipe, nets, inputs, state),
    rows_per_call=32,
  )


def classify(nets: Nets, params: Tree, *, image: jax.Array) -> dict[str, jax.Array]:
  """Computes probabilities, labels and old logits of pictures, or of their pixels."""
  teacher = {"old": params["old"], "stats": params.get("stats", {})}
  seen = see(nets, {"trunk": params["trunk"], "head": params["head"]}, teacher, image)
  probabilities = jax.nn.softmax(seen.logits)
  labels = jax.numpy.argmax(seen.logits, axis=-1).astype(jax.numpy.int32)
  return {"probabilities": probabilities, "labels": labels, "old_logits": seen.old}


def write_files(recipe: Recipe, nets: Nets, inputs: Inputs, state: State, folder: Path) -> None:
  """Writes teacher.safetensors of a teacher that was trained here, and the controller with its card."""
  if nets.loaded is None:
    save_params(folder / "teacher.safetensors", {k: state["teacher"][k] for k in ("trunk", "old")})
  controller = state.get("controller")
  if controller is None:
    return
  save_controller(folder, controller["best_theta"], card_of(recipe, nets, inputs.source, controller))
