"""Freed memory is kept: the pages of a block that comes and goes are not asked for again."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from excite.engine.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
np.ones(2**22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(2**22)  # 32 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_block_that_comes_and_goes_costs_no_new_pages() -> None:
    faults = {name: int(subprocess.run([sys.executable, "-c", CODE, name], capture_output=True, text=True,
                                       check=True).stdout) for name in ("fresh", "kept")}
    assert faults["kept"] < faults["fresh"] / 10, faults
