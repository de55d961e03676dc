# %% [markdown]
# # The whole way as a script
#
# From a table of images to networks that predict, explained and compared, on simulated ultrasound planes, small enough
# for a minute on one processor thread. Cells are marked with `# %%`: an editor that knows them runs the script piece by
# piece, `python examples/workflow.py` runs it whole. What it prints says that the software works, nothing about
# patients: the images are computed from speckle physics.

# %%
import sys
from pathlib import Path

import excite
from excite.config import load_config
from excite.data.check import check
from excite.data.phantom.planes import simulate_planes
from excite.data.sections import DataSection
from excite.jobs.sections import TrainConfig

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "workflow")

# %% [markdown]
# ## A table
#
# One row an image, with its label and its patient. For your own images, this file is all you have to write.

# %%
table = simulate_planes(folder / "data", patients=40, images=4, classes=2, size=(96, 128))
print(*table.read_text(encoding="utf-8").splitlines()[:4], sep="\n")

# %% [markdown]
# ## What is wrong with it?
#
# Missing files, one picture with two labels, near duplicates, patients in two parts: all in one pass.

# %%
found = check(DataSection(table=table))
print(f"{found.counts['rows']} rows, {len(found.errors)} errors, {len(found.faults)} findings in all")

# %% [markdown]
# ## Train, without attention and with it
#
# ResNet-20, a network for small images, as it is and with Squeeze-and-Excitation in every block. The split is by
# patient and the same for both. The same call again resumes, or only reports what is finished.

# %%
runs = {}
for name in ("resnet20", "se_resnet20"):
    config = load_config(TrainConfig, values={
        "data.table": table, "preprocess.size": 32, "model.name": name, "model.weights": "none",
        "optim.lr": 3e-3, "loop.epochs": 12, "loop.batch_size": 8, "loop.ema": 0.9,
        "loop.threads": 1, "loop.precision": "float32"})
    runs[name] = excite.train(config, out=folder / name, simulated=True)
print(runs["se_resnet20"].text())

# %% [markdown]
# ## Every number with its interval
#
# Measured by the exported network on patients that it has not seen; the interval is from a bootstrap over patients.

# %%
evaluation = excite.evaluate(runs["se_resnet20"].folder)
for name in ("balanced_accuracy", "auroc_macro", "ece"):
    print(f"{name:<18} {evaluation.metrics[name].text()}")

# %% [markdown]
# ## Did attention help?
#
# In pairs, on the same images: how much better, how sure, at what cost (`.text()` has every number). On so few patients
# the answer is mostly that no difference can be shown, which is an answer too.

# %%
print(excite.compare(runs["resnet20"].folder, runs["se_resnet20"].folder, resamples=1000).sentence)

# %% [markdown]
# ## What does it look at?
#
# Grad-CAM of three test images, in the images' own size; the first is checked: random weights must give another
# picture, and deleting what is marked must take the answer away.

# %%
run = runs["se_resnet20"]
images = [folder / "data" / run.manifest.rows[row].image for row in run.split.test[:3]]
explained = excite.explain_files(run.folder, images, out=folder / "explained", checks=1, threads=1)
print(f"{explained.n} pictures in {explained.folder}, {explained.checked} checked, {explained.doubted} not to be read")

# %% [markdown]
# ## Predict
#
# The bundle is all that another machine needs, and it needs no torch.

# %%
predictor = excite.load(run.folder / "bundle")
for answer in predictor(images):
    print(Path(answer.file).name, answer.label, f"{answer.probabilities[answer.label]:.2f}")
print(f"report: {run.report}")
