"""Whether every arm can be built, told before anything is trained; and arms that are the same network."""

from collections.abc import Sequence

from excite.attention.plan import AttentionPlan
from excite.errors import ExciteError, UsageError
from excite.jobs.network import check_network
from excite.jobs.sections import TrainConfig
from excite.jobs.study.arms import Arm
from excite.models.classifier import own_attention


def possible(arms: Sequence[Arm], configs: Sequence[TrainConfig]) -> tuple[list[Arm], list[str]]:
    """Return the arms without those that are another one's network again, and a note for each of these.

    Args:
        configs: Of one run of each arm; each network is built without memory.

    Raises:
        UsageError: networks that cannot be; every one is named with its reason.
    """
    faults, notes, kept = dict[str, str](), list[str](), dict[str, Arm]()
    for arm, config in zip(arms, configs, strict=True):
        try:
            check_network(config)
        except ExciteError as fault:
            faults[arm.name] = fault.message()
            continue
        first = kept.setdefault(_network_text(config), arm)
        if first is not arm:
            notes.append(f"{arm.name} is the same network as {first.name} and is not trained again")
    if len(set(faults.values())) == 1 and len(faults) == len(arms):
        raise UsageError(next(iter(faults.values())))  # of the network itself
    if faults:
        told = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
        raise UsageError(f"{len(faults)} of {len(arms)} arms cannot be trained: {told}",
                         fix="leave them out, or change their positions and stages")
    return list(kept.values()), notes


def _network_text(config: TrainConfig) -> str:
    """Return what tells one arm's training from another's, its attention in the place of the network's own."""
    section, attention = config.model, config.model.attention
    if attention is None:
        own = own_attention(section.name, **section.options)
        plan = own.text() if own else "none"
    else:
        start = attention.start or ("paper" if section.weights in (None, "none") else "open")
        plan = AttentionPlan(**{**attention.model_dump(), "start": start}).text()
    rest = config.model_copy(update={"model": section.model_copy(update={"attention": None})})
    return f"{plan} {rest.model_dump()}"
