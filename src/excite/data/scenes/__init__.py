"""Hyperspectral scenes: one cube of spectra, one map of labels."""
