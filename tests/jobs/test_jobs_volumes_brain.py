"""A real study of one patient, several MR series in DICOM, from a table to fused logits."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from excite.data.volumes.preprocess import VolumePreprocess
from excite.data.volumes.sections import VolumesSection
from excite.data.volumes.store import Reading, VolumeStore
from excite.data.volumes.volume_table import read_volume_table
from excite.models.classifier import create_model
from lively import assert_sees_its_input, lively

pytestmark = pytest.mark.real
SERIES = {"t1pre": "T1pre_reg", "t1post": "T1post", "flair": "FLAIR_reg", "t2": "T2_reg"}
FOLDERS = {"t1pre": "26401-t1prereg-52906", "t1post": "11-t1post-18670", "flair": "36468-flairreg-58706",
           "t2": "37830-t2reg-78532"}
SHAPE, STEPS = (16, 64, 64), (6.5, 0.6875 * 4, 0.6875 * 4)


@pytest.fixture(scope="module")
def study(request, tmp_path_factory):
    """The prepared patient and the preprocessing; every cell of the table is the folder of the whole study."""
    real_data = request.getfixturevalue("real_data")
    table = tmp_path_factory.mktemp("brain") / "study.csv"
    folder = real_data / "brain_mm_dicom" / "pgbm-003"
    table.write_text(f"patient,{','.join(SERIES)}\nPGBM,{','.join([str(folder)] * 4)}\n", encoding="utf-8")
    found = read_volume_table(VolumesSection(table=table, maps=tuple(SERIES)), labelled=False)
    unfitted = VolumePreprocess(maps=found.maps, reference="t1post", shape=SHAPE, spacing=STEPS, kind="volume")
    store = VolumeStore.build(found.files, unfitted, how=Reading(series=SERIES), folder=table.parent / "cache")
    return store, unfitted.fit([np.asarray(store.values[0])])


def slices(folder: Path) -> np.ndarray:
    """Return a series read without excite, (D, H, W) from feet to head, from back to front, from left to right."""
    read = sorted(map(pydicom.dcmread, folder.glob("*.dcm")), key=lambda one: float(one.ImagePositionPatient[2]))
    values = np.stack([one.pixel_array * float(getattr(one, "RescaleSlope", 1))
                       + float(getattr(one, "RescaleIntercept", 0)) for one in read])
    assert list(read[0].ImageOrientationPatient)[0] > 0.9 and list(read[0].ImageOrientationPatient)[4] > 0.9
    return values[:, ::-1, ::-1].astype(np.float64)  # DICOM's x runs to the left, its y to the back


def test_series_of_a_study_are_told_apart_and_lie_on_one_grid(study, real_data):
    store, _ = study
    assert store.values.shape == (1, 4, *SHAPE) and not store.doubts[0]
    for place, name in enumerate(SERIES):
        whole = slices(real_data / "brain_mm_dicom" / "pgbm-003" / FOLDERS[name])
        middle = whole[3:19]  # 16 of 22 slices around the middle, their distance is kept
        rows, columns = (size // 2 for size in whole.shape[1:])
        crop = middle[:, rows - 128:rows + 128, columns - 128:columns + 128]
        blocks = crop.reshape(16, 64, 4, 64, 4).mean((2, 4))
        mine = store.values[0, place]
        seen = ~np.isnan(mine)
        assert seen.mean() > 0.9
        assert np.corrcoef(mine[seen], blocks[seen])[0, 1] > 0.98, name


def test_the_study_is_fused_and_every_series_matters(study):
    store, preprocess = study
    images = torch.from_numpy(preprocess.normalise(np.asarray(store.values[0]))[None])
    fusion = create_model("modality_fusion", dims=3, in_channels=4, num_classes=3)
    model = lively(fusion, images.double()).float().eval()
    with torch.no_grad():
        whole = model(images)
        without = torch.stack([model(images.index_fill(1, torch.tensor([place]), 0.0))[0] for place in range(4)])
        shown = model.attention_maps(images, names=tuple(SERIES))
    assert whole.shape == (1, 3) and whole.isfinite().all()
    assert_sees_its_input(torch.cat((whole, without)))
    assert [name.split()[0] for name in shown.tokens] == [name for name in SERIES for _ in range(4)]
    torch.testing.assert_close(shown.weights.sum(dim=3), torch.ones_like(shown.weights[..., 0]))
