"""Who may import whom. The table below is the architecture; these tests keep it true."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "excite"
BASE = {"registry", "errors", "config", "ellipse", "folders", "machine", "progress", "tiling"}
LOW = {"layers", "weights", "metrics", "data", "outcome"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "folders": set(),
    "machine": set(),
    "registry": {"errors"},
    "ellipse": {"errors"},
    "tiling": {"errors"},
    "config": {"errors", "registry"},
    "layers": BASE,
    "weights": BASE | {"layers"},
    "metrics": BASE,
    "data": BASE,
    "outcome": BASE,
    "attention": BASE | {"layers"},
    "models": BASE | {"layers", "attention", "weights"},
    "losses": BASE | {"layers"},
    "tasks": BASE | {"metrics", "outcome", "losses", "data"},
    "engine": BASE | LOW | {"models", "losses", "tasks"},
    "report": BASE | {"metrics", "outcome", "data"},
    "deploy": BASE | {"data", "metrics", "outcome", "models", "weights"},
    "explain": BASE | {"layers", "attention", "models", "weights", "outcome", "metrics", "data"},
    "jobs": BASE | LOW | {"attention", "models", "losses", "tasks", "engine", "explain", "report", "deploy"},
    "compat": BASE | LOW | {"attention", "models", "losses", "tasks", "engine", "explain", "report", "deploy", "jobs"},
    "cli": BASE | {"data", "attention", "models", "weights", "explain", "deploy", "jobs", "outcome"},
}
WITHOUT_TORCH = ("config", "data", "outcome", "metrics", "deploy.runtime", "deploy.bundle", "deploy.scene_predictor",
                 "deploy.volume_predictor", "deploy.volume_mask_predictor", "report", "jobs.predict",
                 "jobs.scenes.predict", "jobs.volumes.predict", "jobs.volume_masks.predict", "jobs.evaluate",
                 "jobs.scenes.evaluate", "jobs.compare.compare", "jobs.volume_masks.evaluate", "cli.main")


def imports(file: Path) -> set[str]:
    """Return the parts of the package that `file` imports, in whichever form it says so."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = list(file.relative_to(PACKAGE.parent).parts[: -node.level]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("excite.")}
    return {name for name in found if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_point_downwards(part: str) -> None:
    files = list((PACKAGE / part).rglob("*.py")) or [PACKAGE / f"{part}.py"]
    for file in files:
        extra = imports(file) - MAY_IMPORT[part] - {part}
        assert not extra, f"{file.relative_to(PACKAGE)} imports {extra}, which {part} may not"


def test_every_part_is_in_the_table() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - {"__init__", "__main__"} == set(MAY_IMPORT)


def test_the_table_would_catch_an_upward_import(tmp_path: Path) -> None:
    for text in ("from excite.jobs import train", "import excite.jobs.train", "from excite import jobs"):
        file = PACKAGE / "data" / "planted.py"
        assert _imports_of(text, file) == {"jobs"}, text


def _imports_of(text: str, file: Path) -> set[str]:
    class Planted(type(file)):  # type: ignore[misc]
        def read_text(self, *args: object, **kwargs: object) -> str:
            return text

    return imports(Planted(file))


def test_no_package_init_imports_torch_and_light_parts_run_without_it() -> None:
    inits = [".".join(("excite", *file.parent.relative_to(PACKAGE).parts)) for file in PACKAGE.rglob("__init__.py")]
    modules = [*sorted(inits), *(f"excite.{name}" for name in WITHOUT_TORCH)]
    code = ("import sys, importlib\nfor name in ('torch', 'sklearn', 'onnx', 'onnxscript'): sys.modules[name] = None\n"
            f"for name in {modules!r}: importlib.import_module(name)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_hold_one_idea() -> None:
    long = {str(file.relative_to(PACKAGE)): n for file in PACKAGE.rglob("*.py")
            if (n := len(file.read_text(encoding="utf-8").splitlines())) > 300}
    assert not long, f"over 300 lines: {long}"


def test_nothing_reads_a_pickle_but_the_weight_import() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.name != "pickled.py":
            assert "torch.load(" not in text and "import pickle" not in text, file
        assert "weights_only=False" not in text, file


def test_no_class_or_function_is_for_one_number_of_dimensions() -> None:
    names = {(file.name, node.name) for file in PACKAGE.rglob("*.py")
             for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
             if isinstance(node, ast.ClassDef | ast.FunctionDef) and re.search(r"[23][dD]", node.name)}
    assert not names
