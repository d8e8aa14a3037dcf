"""Small disks that can be filled: tmpfs, where this user may mount one."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def small_disk(folder, *, kilobytes=4096):
  """Mounts a tmpfs on a new folder; skips the test where that is not allowed."""
  folder.mkdir(parents=True, exist_ok=True)
  command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder]
  done = subprocess.run(command, capture_output=True, text=True)
  if done.returncode:
    pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
  try:
    yield folder
  finally:
    subprocess.run(["umount", "--lazy", folder], check=False)


def fill(folder):
  """Takes all the space that is left; returns the file that holds it."""
  filler = folder / "filler"
  with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
    for size in (1 << 20, 1 << 12, 1):
      with contextlib.suppress(OSError):
        while file.write(b"x" * size) == size:
          pass
  return filler
