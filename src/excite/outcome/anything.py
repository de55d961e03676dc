"""All that can be said of one image, whatever the network is for."""

from excite.outcome.heads import HeadPrediction
from excite.outcome.masks import MaskPrediction
from excite.outcome.prediction import ClassPrediction, FailedPrediction

Prediction = ClassPrediction | HeadPrediction | MaskPrediction | FailedPrediction
