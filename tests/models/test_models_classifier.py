import pytest
import torch

import excite
import excite.errors
from excite.errors import UsageError
from excite.models.classifier import create_model, list_models


def test_names_are_listed_and_filtered():
    assert {"mobilenet_v2", "resnet50", "resnext50_32x4d", "se_resnet50", "se_resnext50_32x4d"} <= set(list_models())
    assert {"se_resnet50", "se_resnext50_32x4d", "senet154"} <= set(list_models("se*"))
    assert "resnet50" not in list_models("se*")
    assert list_models("nothing*") == []


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(UsageError, match="unknown model 'mobilnet_v2'; did you mean 'mobilenet_v2'"):
        create_model("mobilnet_v2")


def test_the_front_door_is_this_function():
    assert excite.create_model is create_model and excite.list_models is list_models


def test_logits_are_the_linear_layer_on_the_mean_of_the_map():
    model, x = create_model("mobilenet_v2", num_classes=5).eval(), torch.rand(2, 3, 40, 50)
    with torch.no_grad():
        vectors = model.forward_features(x)
        torch.testing.assert_close(vectors, model.backbone(x).flatten(2).mean(-1))
        torch.testing.assert_close(model(x), vectors @ model.classifier.weight.T + model.classifier.bias)


def test_dropout_is_the_networks_own_unless_given():
    assert create_model("mobilenet_v2").dropout.p == 0.2
    assert create_model("mobilenet_v2", dropout=0.5).dropout.p == 0.5
    with torch.device("meta"):
        assert create_model("resnet50").dropout.p == 0.0


def test_weights_are_loaded_and_others_refused():
    source = create_model("mobilenet_v2", num_classes=5)
    model = create_model("mobilenet_v2", num_classes=5, weights=source.state_dict())
    assert model.name == "mobilenet_v2"
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in model.state_dict().items())
    with pytest.raises(excite.errors.ModelError):
        create_model("mobilenet_v2", width=0.5, weights=source.state_dict())
