"""launch/autopose/derive.py: the networks of a search as a table, files and drawings."""

import json

from launch.commands import launch, refused, succeeded
from vita_jax.search.branches import Space, read_genotype, to_json


def _written(folder):
  space = Space(2, 3, 2)
  found = [read_genotype(name, space) for name in ("random:0", "all_edges")]
  contents = [to_json(one._replace(facts={"score": 0.5 - i, "macs": 2e6})) for i, one in enumerate(found)]
  (folder / "candidates.json").write_text(json.dumps({"genotypes": contents}))
  return space, found


def test_it_lists_writes_and_draws_networks(tmp_path):
  space, found = _written(tmp_path)
  said = succeeded(launch("autopose/derive", f"--workdir={tmp_path}", "--format=svg"))
  assert "0.5000" in said and "2.0" in said and "unknown" in said and "2 networks" in said
  for rank, genotype in enumerate(found):
    again = read_genotype(str(tmp_path / "derived" / f"genotype_{rank}.json"), space)
    assert to_json(again)["edges"] == to_json(genotype)["edges"]
    assert "<svg" in (tmp_path / "derived" / f"genotype_{rank}.svg").read_text()


def test_what_is_no_search_and_no_genotype_is_refused(tmp_path):
  refused(
    launch("autopose/derive", f"--workdir={tmp_path / 'none'}"), "--workdir takes that of a finished search"
  )
  refused(launch("autopose/derive", f"--workdir={tmp_path}"), "give a finished run of configs/autopose")
  refused(launch("autopose/derive"), "give one of --workdir")
  (tmp_path / "candidates.json").write_text('{"genotypes": [{"version": 7}]}')
  refused(launch("autopose/derive", f"--workdir={tmp_path}"), "version 7 of the space, this is version 1")
