"""A trained model as files that need no vita_jax: python launch/export.py --workdir=DIR

Writes to DIR/export: params.safetensors, program.jax (jax.export, for cpu, cuda and tpu), config.json,
card.json and a README on loading them.
"""

from __future__ import annotations

import json
from pathlib import Path

from absl import flags

from vita_jax import cli
from vita_jax.base.choose import choose
from vita_jax.base.files import write_json, write_text
from vita_jax.train.finish import read_config
from vita_jax.train.program_file import write_program
from vita_jax.train.weights import save_params

WORKDIR = cli.define_workdir()
KNOWN = ("cpu", "cuda", "rocm", "tpu")
SEED = flags.DEFINE_integer("seed", None, "Seed whose weights are exported; default: the run's first.")
PLATFORMS = flags.DEFINE_list("platforms", ["cpu", "cuda", "tpu"], "Platforms the program runs on.")


def main() -> None:
  if not PLATFORMS.value:
    raise ValueError(f"--platforms is empty: name some of {', '.join(KNOWN)}")
  for platform in PLATFORMS.value:  # jax.export takes any word
    choose("platform in --platforms", platform, KNOWN)
  exported, seed = cli.exported(WORKDIR.value, SEED.value)
  folder = Path(WORKDIR.value) / "export"
  folder.mkdir(exist_ok=True)
  card = {"seed": seed, **exported.card}
  save_params(folder / "params.safetensors", exported.params, metadata={"card": json.dumps(card)})
  config = json.loads(read_config(Path(WORKDIR.value)).to_json_best_effort())
  write_json(folder / "config.json", {"config": config, "seed": seed})
  write_json(folder / "card.json", card)
  size = write_program(folder / "program.jax", exported, platforms=PLATFORMS.value)
  write_text(folder / "README.md", README.format(inputs=", ".join(exported.inputs)))
  if exported.write:
    exported.write(folder)
  platforms = ", ".join(PLATFORMS.value)
  written = {"params.safetensors", "program.jax", "config.json", "card.json", "README.md"}
  more = "".join(f", {p.name}" for p in sorted(folder.iterdir()) if p.name not in written)
  program = f"program.jax ({size / 1e3:.0f} kB; {platforms})"
  print(f"{folder}: params.safetensors, {program}, card.json, README.md{more}")


README = """\
Loading this model takes jax, flatbuffers and safetensors, nothing else (inputs are described in card.json):

    import jax; from jax import export; from safetensors.numpy import load_file
    params = load_file("params.safetensors")
    program = export.deserialize(bytearray(open("program.jax", "rb").read()))
    outputs = program.call(params, {{name: array for name, array in my_inputs.items()}})  # {inputs}
    print({{name: array.shape for name, array in outputs.items()}})
"""


if __name__ == "__main__":
  cli.run(main)
