"""What a pretrained network keeps when attention is inserted: top-1 and top-5 on real photos, before any training.

    EXCITE_REAL_DATA=... OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/pretrained_insertion.py [FILE.md]

torchvision's MobileNetV2 and MobileNetV3-Small with dequantised ImageNet weights on 300 photos, one a class: the
centre 224 of 256, mean and standard deviation 0.5. Open gates must give the same logits bit for bit; published starts
are drawn three times. The exit code is 1 where an open insertion changes a logit.
"""

import os
import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from imagenet_photos import NETWORKS, logits, photos, pretrained, with_attention  # noqa: E402

KINDS, POSITIONS, DRAWS = ("se", "eca", "cbam"), ("standard", "pre", "post", "identity"), 3


def hits(found: Tensor, classes: Tensor) -> tuple[float, float]:
    """Return top-1 and top-5 in percent."""
    right = found.topk(5).indices == classes[:, None]
    return 100 * float(right[:, 0].float().mean()), 100 * float(right.any(1).float().mean())


def main() -> int:
    """Print or write the table."""
    data, out = Path(os.environ["EXCITE_REAL_DATA"]), sys.argv[1:]
    images, classes = photos(data / "imagenet_sample")
    lines = [f"`benchmarks/pretrained_insertion.py`, {date.today()}, torch {torch.__version__}, {len(classes)} photos.",
             "",
             "| network | attention | position | top-1, top-5 before | open start | same logits | paper start, top-1 |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    changed = 0
    for name in NETWORKS:
        model = pretrained(name, data / "weights")
        before = logits(model, images)
        top1, top5 = hits(before, classes)
        for kind in KINDS:
            for position in POSITIONS:
                found = logits(with_attention(model, f"{kind}:position={position}"), images)
                same = torch.equal(found, before)
                changed += not same
                lost = [hits(logits(with_attention(model, f"{kind}:position={position}:start=paper", draw), images),
                             classes)[0] for draw in range(DRAWS)]
                now1, now5 = hits(found, classes)
                lines.append(f"| {name} | {kind} | {position} | {top1:.1f}, {top5:.1f} | {now1:.1f}, {now5:.1f} | "
                             f"{'all' if same else 'NO'} | {', '.join(f'{one:.1f}' for one in lost)} |")
                print(lines[-1], flush=True)
    if out:
        Path(out[0]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(changed > 0)


if __name__ == "__main__":
    sys.exit(main())
