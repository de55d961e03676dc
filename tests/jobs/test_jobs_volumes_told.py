"""Doubts that differ in their numbers only are one, with the lines that they are of."""

from types import SimpleNamespace

import numpy as np
import torch

from excite.data.volumes.preprocess import VolumePreprocess
from excite.jobs.volumes.told import Doubt, doubts_of, doubts_told, grid_told
from excite.models.classifier import create_model


def test_a_grid_too_thin_for_the_network_is_told():  # T0-8
    def said(shape, **options):
        with torch.device("meta"):
            network = create_model("modality_fusion", dims=3, **options)
        return grid_told(VolumePreprocess(maps=("t1",), reference="t1", shape=shape, spacing=(6, 1.5, 1.5)), network)

    assert said((16, 112, 112)) == "16 x 112 x 112 voxels of 6 x 1.5 x 1.5 mm around the middle of the t1"
    thin = said((1, 112, 16))
    assert "halves the depth until one place stands for 16 voxels, there are 1: what" in thin
    assert "halves the width until one place stands for 32 voxels, there are 16" in thin and "height" not in thin
    assert "halves" not in said((1, 112, 112), trunk="mobilenet_v2", slices=True)  # slices are not filtered across


def test_alike_doubts_are_one_with_its_lines():
    table = SimpleNamespace(manifest=SimpleNamespace(rows=[SimpleNamespace(line=line) for line in range(2, 16)]),
                            clinical=np.arange(14, dtype=np.float32)[:, None])
    shifted = [(f"adc beside t1: shifted by ({place}, -{place}.5) mm",) if place > 3 else () for place in range(14)]
    store = SimpleNamespace(doubts=[*shifted[:-1], ("t2star is turned",)], values=np.zeros((14, 1)))
    preprocess = SimpleNamespace(doubts=lambda stored, values: ["age: 1 is far"] if values == [1.0] else [])
    found = doubts_of(table, store, preprocess)
    assert [one.lines for one in found] == [tuple(range(6, 15)), (3,), (15,)]
    assert found[0].told() == ("9 rows, of the first: adc beside t1: shifted by (4, -4.5) mm (lines 6, 7, 8, 9, 10, "
                               "11, 12, 13 and 1 more)")
    assert found[1].told() == "line 3: age: 1 is far"
    assert doubts_told(found[1:]) == "line 3: age: 1 is far; line 15: t2star is turned" and doubts_told([]) == "none"
    many = [Doubt(text=f"kind {letter}", lines=(2,)) for letter in "abcdefghij"]
    assert doubts_told(many).endswith("; and 2 more kinds, listed in the report")
