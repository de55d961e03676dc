"""The jobs on hyperspectral scenes."""
