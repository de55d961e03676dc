"""Where attention goes in a network: which kind, at which position, in which stages and blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from inspect import signature
from typing import Any, get_args

from torch import nn

import excite.attention.cbam
import excite.attention.coordinate
import excite.attention.eca
import excite.attention.ese
import excite.attention.gct
import excite.attention.scse
import excite.attention.se
import excite.attention.simam
import excite.attention.srm  # noqa: F401
from excite.attention.registry import ATTENTION
from excite.attention.words import PLACES, Place, parse, spelt
from excite.errors import UsageError
from excite.layers.gate import Start
from excite.layers.options import check_options
from excite.layers.residual import Join, Residual, Widths


@dataclass(frozen=True, kw_only=True)
class AttentionPlan:
    """One attention for a whole network.

    Args:
        kind: A name of the attention registry.
        position: Where in a block: "standard", "pre", "post", "identity" or "inner", see Residual; or "tail", one
            attention for the whole network, on its last map.
        stages: Indices of the stages that get it, counted from 0; None is every stage.
        blocks: Names of the blocks that get it, "stage.block", with * and ?: ("3.*", "2.5"); None is every block.
        start: "paper", the published form; "open": exactly 1 at first, for pretrained networks.
        options: Arguments of the attention; a tuple or list is one value a stage.

    Raises:
        UsageError: a kind, position, start or option is unknown; the nearest right one is named.
    """

    kind: str = "se"
    position: Place = "standard"
    stages: tuple[int, ...] | None = None
    blocks: tuple[str, ...] | None = None
    start: Start = "paper"
    options: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str):
            raise UsageError(f"attention kind must be a name, got {self.kind!r}", fix=f"one of {', '.join(ATTENTION)}")
        if not isinstance(self.options, Mapping):
            raise UsageError(f"attention options must be a mapping from names to values, got {self.options!r}")
        _check_kind(self.kind)
        check_options(f"attention {self.kind!r}", ATTENTION[self.kind], self.options,
                      fixed=("channels", "dims", "start"))
        if self.position not in PLACES:
            raise UsageError(f"attention position must be one of {', '.join(PLACES)}, got {self.position!r}")
        if self.start not in get_args(Start):
            raise UsageError(f"start must be 'paper' or 'open', got {self.start!r}",
                             fix="'open' keeps a pretrained network's outputs at first")
        for name, chosen in (("stages", self.stages), ("blocks", self.blocks)):
            if chosen is None:
                continue
            kind: type = int if name == "stages" else str
            if not isinstance(chosen, tuple | list) or not chosen or not all(type(one) is kind for one in chosen):
                raise UsageError(f"attention {name} must name at least one, in a tuple of {kind.__name__}, got "
                                 f"{chosen or 'none'!r}",
                                 fix=f"{name}=None is every one; attention=None is no attention")
            object.__setattr__(self, name, tuple(chosen))
            if self.position == "tail":
                raise UsageError(f"attention at the tail has no {name}", fix=f"leave {name} out")

    @classmethod
    def parse(cls, text: str) -> "AttentionPlan":
        """Return the plan that a line such as "se@2,3:position=pre:reduction=8" stands for, see attention/words.py."""
        return cls(**parse(text))

    def record(self) -> dict[str, Any]:
        """Return the arguments that make this plan, as plain data."""
        return {"kind": self.kind, "position": self.position, "stages": self.stages, "blocks": self.blocks,
                "start": self.start, "options": dict(self.options)}

    def text(self) -> str:
        """Return the plan as `parse` takes it."""
        return spelt(self.record())

    def check(self, stages: int) -> None:
        """Raise a UsageError where the plan does not fit a network of so many stages."""
        wrong = [stage for stage in self.stages or () if stage not in range(stages)]
        if wrong:
            raise UsageError(f"attention stages must be 0 to {stages - 1}, got {', '.join(map(str, wrong))}",
                             fix="stages are counted from 0")
        for name, value in self.options.items():
            if not isinstance(value, tuple | list):
                continue
            if self.position == "tail":
                raise UsageError(f"attention option {name!r} must be one value at the tail, got {len(value)}")
            if len(value) != stages:
                raise UsageError(f"attention option {name!r} has {len(value)} values, the network has {stages} stages",
                                 fix="give one value a stage, or one for all")

    def check_blocks(self, names: Sequence[str]) -> None:
        """Raise a UsageError where a pattern of `blocks` matches none of a network's blocks, "stage.block"."""
        lost = [pattern for pattern in self.blocks or () if not any(fnmatchcase(name, pattern) for name in names)]
        empty = [stage for stage in self.stages or () if not any(name.startswith(f"{stage}.") for name in names)]
        if empty:
            raise UsageError(f"stage {', '.join(map(str, empty))} of the network has no block for attention",
                             fix=f"its blocks, stage.block: {', '.join(names) or 'none'}")
        if lost:
            raise UsageError(f"no block of the network is called {', '.join(lost)}",
                             fix=f"its blocks, stage.block: {', '.join(names) or 'none'}")

    def covers(self, stage: int, block: int) -> bool:
        """Return whether a block, counted in its stage from 0, gets the attention."""
        if self.position == "tail" or (self.stages is not None and stage not in self.stages):
            return False
        return self.blocks is None or any(fnmatchcase(f"{stage}.{block}", pattern) for pattern in self.blocks)

    def build(self, channels: int, stage: int = 0, *, dims: int) -> nn.Module:
        """Return the attention for a map of `channels` in `stage`."""
        options = {name: value[stage] if isinstance(value, tuple | list) else value
                   for name, value in self.options.items()}
        return ATTENTION[self.kind](channels, dims=dims, start=self.start, **options)


def _check_kind(kind: str) -> None:
    """Raise a UsageError where an attention does not take what every attention does."""
    taken = signature(ATTENTION[kind]).parameters.values()
    names = {one.name for one in taken}
    if any(one.kind is one.VAR_KEYWORD for one in taken):
        return
    if lacks := [name for name in ("dims", "start") if name not in names]:
        raise UsageError(f"attention {kind!r} takes no {' and no '.join(lacks)}",
                         fix="its constructor must be (channels, *, dims=2, start='paper', ...)")


def residual(plan: AttentionPlan | None, stage: int, block: int, branch: nn.Module, shortcut: nn.Module | None,
             widths: Widths, *, dims: int, act: nn.Module | None = None, inner: int | None = None, join: Join = "sum",
             halves: bool = False) -> Residual:
    """Join `branch` and `shortcut` as `plan` says for `block` of `stage`; the other arguments are Residual's."""
    if plan is None or plan.position == "tail" or not plan.covers(stage, block):
        return Residual(branch, shortcut, act=act, inner=inner, join=join, halves=halves)
    attention = plan.build(getattr(widths, plan.position), stage, dims=dims)
    return Residual(branch, shortcut, attention=attention, position=plan.position, act=act, inner=inner, join=join,
                    halves=halves)
