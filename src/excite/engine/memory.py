"""Freed memory stays with the process: a training step asks for the same blocks again and again."""

import ctypes
import sys

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_BLOCK, _KEPT = 2**30, 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from memory that it has, in place of mapping fresh pages each time.

    Every fresh page is zeroed by the kernel: a quarter of the processor time of a training step went there
    (benchmarks/memory.py, MobileNetV2). Of another C library nothing is asked; returns whether it was told.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_M_MMAP_THRESHOLD, _BLOCK) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
