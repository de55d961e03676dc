"""Which way a number is better, and how a difference of it is said."""

LOWER = ("ece", "brier", "nll", "grade_error", "adf_mm", "median_adf_mm", "width_mm")
DISTANCES = ("hd", "hd95", "assd", "head_hd")
SHARES = ("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "auroc", "ap", "ece", "dice",
          "iou", "sensitivity", "surface_dice", "head_dice", "found")
NEITHER = ("df_mm", "loa_low_mm", "loa_high_mm", "coverage", "difference_ml")


def direction(metric: str) -> int:
    """Return 1 where more is better, -1 where less is, 0 where neither is: a bias, a share that is promised.

    Args:
        metric: Name of a number, of one class too: "recall/CLASS".
    """
    name = metric.partition("/")[0]
    if name in NEITHER:
        return 0
    return -1 if name in LOWER or name.rpartition("_")[0] in DISTANCES else 1


def unit_of(metric: str) -> tuple[float, str]:
    """Return what a difference is multiplied by and the unit it is said in: points of a share, mm, or none."""
    name = metric.partition("/")[0]
    if name.removesuffix("_macro").removesuffix("_weighted").removesuffix("_px") in SHARES:
        return 100.0, "points"
    unit = name.rpartition("_")[2]
    return 1.0, {"mm": "mm", "px": "pixels", "voxels": "voxels", "ml": "ml"}.get(unit, "")


def words(metric: str) -> str:
    """Return a metric's name as words: "balanced accuracy", "recall of CLASS"."""
    name, _, label = metric.partition("/")
    return name.replace("_", " ") + (f" of {label}" if label else "")


def spoken(metric: str) -> str:
    """Return a metric's name beside a number that has its unit: "adf", not "adf mm"."""
    found = words(metric)
    unit = found.rpartition(" ")[2]
    return found.removesuffix(f" {unit}") if unit in ("mm", "px", "voxels", "ml") else found
