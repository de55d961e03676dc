"""What is said of gates holds the numbers at hand."""

import numpy as np

from excite.explain.gate_ablation import GateCost
from excite.explain.gate_statistics import LayerGates
from excite.jobs.gates.words import words
from excite.metrics.intervals import Interval


def layer(name, states, **changes):
    count, zeros = len(states), np.zeros(len(states))
    values = {"name": name, "attention": "se", "kind": "channel", "n": 9, "largest": 1.0, "mean": zeros + 0.5,
              "std": zeros, "low": zeros, "high": zeros, "quantiles": {}, "histogram": zeros, "states": tuple(states),
              "unevenness": 0.0, "between_inputs": 0.01, "between_channels": 0.03}
    assert count
    return LayerGates(**values | changes)


def cost(name, value, low):
    lost = Interval(value=value, low=low, high=value + 0.01)
    return [GateCost(name=name, how=how, lost={"accuracy": lost}) for how in ("mean", "one")]


LAYERS = [layer("first", ["saturated", "saturated", "dead", "constant"]),
          layer("second", ["live"] * 4, between_inputs=0.0001, eta=0.5, eta_by_chance=0.2, eta_corrected=0.375),
          layer("third", ["live"] * 2)]
COSTS = [*cost("first", 0.0, -0.01), *cost("second", 0.02, 0.0), *cost("third", 0.08, 0.05)]


def test_every_sentence_holds_its_numbers():
    said = words(LAYERS, COSTS, classes=("a", "b"))
    assert said == [
        "Gates are about channels, not regions: a gate scales a whole channel, everywhere alike. Which part of an "
        "image a network looks at is another question; excite explain without --gates pictures it.",
        "Of 10 gates in 3 layers 1 are dead (always off), 2 saturated (always fully open), 1 constant between, and 6 "
        "(60 %) vary with the input.",
        "Every gate of first is the same for all images: these layers weigh channels and attend to nothing. They can "
        "be folded into a convolution (--fold).",
        "In second less than 5 % of the gates' variance is over images: which channel it is matters far more than what "
        "is seen.",
        "The class explains at most 38 % of how a layer's gates vary (second; corrected for the 20.0 % that shuffled "
        "labels would explain).",
        "As constants, the gates of third cost most: accuracy falls by 0.080 [0.050, 0.090].",
        "For 2 of 3 layers it is not shown that accuracy falls when their gates are constants (first, second); such "
        "layers may go one at a time, --fold measures how many together."]


def test_gates_that_look_are_said_to_look_and_patients_are_called_so():
    said = " ".join(words([LAYERS[2]], cost("third", 0.08, 0.05), sample="patient", classes=("a", "b")))
    assert "In every layer at least 5 % of the gates' variance is over patients" in said and "part of a patient" in said
    assert "Whether gates differ between classes is not known" in said and "not shown" not in said


def test_layers_that_cost_nothing_have_no_worst_one():
    assert "cost most" not in " ".join(words([LAYERS[0]], cost("first", 0.0, 0.0)))


def test_gates_of_places_are_told():
    said = words([layer("where", ["live"], kind="place")], cost("where", 0.1, 0.05))
    assert said[1].startswith("The gates of where differ from place to place. Here they are averaged over the places "
                              "of an image")
