"""Shows a trained logo: a sheet of pictures on photographs, and a dressed body that turns, as GIF.

  python launch/adv_logo/turntable.py --workdir=runs/logo --out=pictures

Writes OUT/sheet.png (a row for each tested body, at the angles of --angles) and OUT/BODY.gif for each body.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import flags

from vita_jax import cli

WORKDIR = cli.define_workdir()
OUT = flags.DEFINE_string("out", None, "Folder to write; made if it is not there.", required=True)
SEED = flags.DEFINE_integer("seed", None, "Seed whose logo is shown; default: the run's first.")
ANGLES = flags.DEFINE_list("angles", ["-20", "-10", "0", "10", "20"], "Angles of the sheet, in degrees.")
PHOTOGRAPH = flags.DEFINE_integer("photograph", 0, "Which held-out photograph is behind.", lower_bound=0)
VIEWS = flags.DEFINE_integer("views", 36, "Pictures of a turn.", lower_bound=2)


def main() -> None:
  import jax.numpy as jnp

  from vita_jax import render
  from vita_jax.papers.adv_logo.data import read_inputs
  from vita_jax.papers.adv_logo.model import shown
  from vita_jax.papers.adv_logo.recipe import recipe_of
  from vita_jax.papers.adv_logo.report import sheet_pictures
  from vita_jax.train.finish import read_config

  exported, _ = cli.exported(WORKDIR.value, SEED.value)
  recipe = recipe_of(read_config(Path(WORKDIR.value)))
  inputs = read_inputs(recipe)
  if PHOTOGRAPH.value >= len(inputs.held_out.names):
    raise ValueError(
      f"--photograph={PHOTOGRAPH.value}: there are {len(inputs.held_out.names)}, counted from 0"
    )
  textures = np.asarray(shown(jnp.asarray(exported.params["logo"]), recipe.texture.median))
  out = Path(OUT.value).expanduser()
  out.mkdir(parents=True, exist_ok=True)
  angles = [float(angle) for angle in ANGLES.value]
  rows = sheet_pictures(textures, inputs, angles=angles, photograph=PHOTOGRAPH.value)
  render.save_png(out / "sheet.png", np.concatenate([np.concatenate(row, axis=1) for row in rows]))
  for number, (body, chart) in enumerate(zip(inputs.bodies, inputs.charts, strict=True)):
    texture = textures[number if number < len(textures) else 0]
    dressed = render.with_decal(body.mesh, chart.faces, chart.uv, texture, inputs.mask)
    pictures = render.turntable(dressed, views=VIEWS.value, elevation=0.0)
    render.save_gif(out / f"{body.name}.gif", pictures)
  print(f"{out}: sheet.png, {', '.join(f'{body.name}.gif' for body in inputs.bodies)}")


if __name__ == "__main__":
  cli.run(main)
