"""What an insertion has to survive, one function a thing; each returns True, or what is wrong."""

import copy
import io
import warnings

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from excite.attention.insertion.insert import insert, inserted_plan


def shaken(model, x, seed=5):
    """The network with random affine weights and layer scales, and measured statistics: a fresh one hides branches."""
    dice, norms = torch.Generator().manual_seed(seed), []
    with torch.no_grad():
        for layer in model.modules():
            for own, value in layer.named_parameters(recurse=False):
                if value.ndim < 2 or "gamma" in own or "scale" in own:
                    value.uniform_(0.4, 1.2, generator=dice)
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                norms.append((layer, layer.momentum))
                layer.momentum = None
        model.train()(x)
    for layer, momentum in norms:
        layer.momentum = momentum
    return model.eval()


def gates(model):
    """The gates of the inserted plan."""
    return [block.get_submodule(block.insertion.gate) for block in model.modules() if hasattr(block, "insertion")]


def awake(model, seed=6):
    """The network with gates that are anything but 1."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for gate in gates(model):
            for value in gate.parameters():
                value.normal_(0, 0.2, generator=dice)
    return model


def output(model, x, seed=None):
    """The first of what a network returns."""
    if seed is not None:
        torch.manual_seed(seed)
    made = model(x)
    return made if torch.is_tensor(made) else made[0]


def near(one, other, most=1e-4):
    """Whether two outputs are the same but for rounding, or how far they are apart."""
    apart = float(((one - other).abs().max() / other.abs().max()).detach())
    return True if apart <= most else f"{apart:.1e}"


@torch.no_grad()
def equal_at_start(base, model, x):
    return torch.equal(output(model.eval(), x), output(base.eval(), x))


def equal_in_training(base, model, x):
    one, other = copy.deepcopy(base).train(), copy.deepcopy(model).train()
    return torch.equal(output(other, x, seed=3), output(one, x, seed=3))


def keeps_keys_and_classes(base, model, x):
    old, new = base.state_dict(), model.state_dict()
    kept = all(torch.equal(value, new[key]) for key, value in old.items())
    parts = dict(model.named_modules())
    return kept and all(isinstance(parts[name], type(part)) for name, part in base.named_modules())


@torch.no_grad()
def deepcopy_alone(base, model, x):
    before, twin = output(model.eval(), x), copy.deepcopy(model)
    same = torch.equal(output(twin, x), before)
    awake(twin, seed=9)
    return same and torch.equal(output(model, x), before) and not torch.equal(output(twin, x), before)


@torch.no_grad()
def whole_file(base, model, x):
    file = io.BytesIO()
    torch.save(model.eval(), file)
    file.seek(0)
    return torch.equal(output(torch.load(file, weights_only=False), x), output(model, x))


@torch.no_grad()
def state_dict(base, model, x):
    fresh = copy.deepcopy(base)
    insert(fresh, inserted_plan(model), input_size=x.shape[1:])
    fresh.load_state_dict(model.state_dict(), strict=True)
    return torch.equal(output(fresh.eval(), x), output(model.eval(), x))


@torch.no_grad()
def in_double(base, model, x):
    made = output(copy.deepcopy(model).eval().double(), x.double())
    return near(made.float(), output(model.eval(), x), 1e-3) if made.dtype == torch.float64 else str(made.dtype)


@torch.no_grad()
def fused(base, model, x):
    one, base, x = copy.deepcopy(model).eval().double(), copy.deepcopy(base).eval().double(), x.double()
    expected = output(one, x)
    same = near(output(fuse(one), x), expected, 1e-9)
    return same if near(output(base, x), expected) is not True else "gates that do nothing"


@torch.no_grad()
def sync_norm(base, model, x):
    convert = nn.SyncBatchNorm.convert_sync_batchnorm
    if type(model).__module__.startswith("timm"):  # whose norms hold an activation
        from timm.layers import convert_sync_batchnorm as convert
    made = convert(copy.deepcopy(model)).eval()
    return torch.equal(output(made, x), output(model.eval(), x)) and len(gates(made)) == len(gates(model))


def compiled(base, model, x):
    torch._dynamo.reset()
    quick = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        same = near(output(quick.eval(), x), output(model.eval(), x))
    twin = copy.deepcopy(model).train()
    made = output(torch.compile(twin, backend="aot_eager", fullgraph=True), x, seed=3)
    return same if same is not True else near(made, output(copy.deepcopy(model).train(), x, seed=3), 1e-3)


@torch.no_grad()
def exported(base, model, x):
    return near(output(torch.export.export(model.eval(), (x,)).module(), x), output(model, x))


@torch.no_grad()
def jit_traced(base, model, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return near(output(torch.jit.trace(model.eval(), x), x), output(model, x))


@torch.no_grad()
def onnx(base, model, x):
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(model.eval(), (x,), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    made = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    return near(torch.from_numpy(made), output(model, x), 1e-3)


def learns(base, model, x, steps=20):
    """Whether every gate moves in a few steps of SGD from its open start."""
    model = copy.deepcopy(model).train()
    before = [[value.detach().clone() for value in gate.parameters()] for gate in gates(model)]
    rate = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(steps):
        rate.zero_grad()
        made = output(model, x, seed=step)
        (made / made.detach().std()).square().mean().backward()
        rate.step()
    moved = [any(not torch.equal(new, old) for new, old in zip(gate.parameters(), start, strict=True))
             for gate, start in zip(gates(model), before, strict=True)]
    return all(moved) or f"{sum(moved)} of {len(moved)}"


AT_START = {"eval equal": equal_at_start, "train equal": equal_in_training}
AWAKE = {"keys, classes": keeps_keys_and_classes, "deepcopy": deepcopy_alone, "save, load": whole_file,
         "state dict": state_dict, "double": in_double, "conv+BN fused": fused, "SyncBN": sync_norm}
COMPILERS = {"compile": compiled, "export": exported, "jit.trace": jit_traced, "ONNX": onnx}
