"""excite: small channel-attention networks for medical and hyperspectral images.

The names below are resolved on first use, so that `import excite` costs nothing and the parts that predict run
without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from excite.attention.plan import AttentionPlan
    from excite.deploy.runtime import Predictor, load
    from excite.jobs.compare.compare import compare
    from excite.jobs.evaluate import evaluate
    from excite.jobs.explain.explain import explain_files
    from excite.jobs.train import Run, train
    from excite.models.classifier import create_model, list_models
    from excite.models.cost import Cost, count
    from excite.models.inserted_weights import load_inserted, save_inserted
    from excite.models.insertion import InsertReport, insert_attention, inserted_plan
    from excite.models.prediction import for_prediction
    from excite.models.scene_prediction import predict_scene
    from excite.weights.inflate import inflate
    from excite.weights.load import LoadReport, load_weights

__version__ = "0.1.0"

_WHERE = {
    "AttentionPlan": "attention.plan",
    "Cost": "models.cost",
    "InsertReport": "models.insertion",
    "LoadReport": "weights.load",
    "Predictor": "deploy.runtime",
    "Run": "jobs.train",
    "compare": "jobs.compare.compare",
    "count": "models.cost",
    "create_model": "models.classifier",
    "evaluate": "jobs.evaluate",
    "explain_files": "jobs.explain.explain",
    "for_prediction": "models.prediction",
    "inflate": "weights.inflate",
    "insert_attention": "models.insertion",
    "inserted_plan": "models.insertion",
    "list_models": "models.classifier",
    "load": "deploy.runtime",
    "load_inserted": "models.inserted_weights",
    "load_weights": "weights.load",
    "predict_scene": "models.scene_prediction",
    "save_inserted": "models.inserted_weights",
    "train": "jobs.train",
}
__all__ = ["AttentionPlan", "Cost", "InsertReport", "LoadReport", "Predictor", "Run", "compare", "count",
           "create_model", "evaluate", "explain_files", "for_prediction", "inflate", "insert_attention",
           "inserted_plan", "list_models", "load", "load_inserted", "load_weights", "predict_scene", "save_inserted",
           "train"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'excite' has no attribute {name!r}")
    value = getattr(import_module(f"excite.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
