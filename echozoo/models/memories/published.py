"""Keys of the published STM, STCN, XMem and MemSAM in this project's terms."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FUSION = (
    (r"attention\.ChannelGate\.mlp\.1\.", "attention.channel_gate.0."),
    (r"attention\.ChannelGate\.mlp\.3\.", "attention.channel_gate.2."),
    (r"attention\.SpatialGate\.spatial\.conv\.", "attention.spatial_gate."),
)
_PROJECTIONS = (
    (r"key_proj\.key_proj\.", "memory.key."),
    (r"key_proj\.d_proj\.", "memory.shrinkage."),
    (r"key_proj\.e_proj\.", "memory.selection."),
)
_VALUES = (
    (r"value_encoder\.(conv1|bn1|layer\d)\.", r"memory.value_encoder.trunk.\1."),
    (r"value_encoder\.fuser\.", "memory.value_encoder.fuser."),
    (r"value_encoder\.hidden_reinforce\.", "memory.deep_update."),
)
_SENSORY = (
    (r"decoder\.fuser\.", "memory.fuser."),
    (r"decoder\.hidden_update\.transform\.", "memory.update.transform."),
)
_STCN_XMEM = (
    (r"key_encoder\.res2\.", "backbone.layer1."),
    (r"key_encoder\.", "backbone."),
    (r"key_comp\.", "memory.query_value."),
    (r"decoder\.hidden_update\.g16_conv\.", "memory.map_convs.0."),
    (r"decoder\.hidden_update\.g8_conv\.", "memory.map_convs.1."),
    (r"decoder\.hidden_update\.g4_conv\.", "memory.map_convs.2."),
    *_PROJECTIONS,
    *_VALUES,
    *_SENSORY,
    (r"(decoder\.(compress|up_16_8|up_8_4|pred)\.)", r"\1"),
)
_STM = (
    (r"Encoder_M\.conv1\.", "memory.value_encoder.trunk.conv1.image."),
    (r"Encoder_M\.conv1_m\.", "memory.value_encoder.trunk.conv1.mask."),
    (r"Encoder_M\.conv1_o\.", "memory.value_encoder.trunk.conv1.others."),
    (r"Encoder_M\.bn1\.", "memory.value_encoder.trunk.bn1."),
    (r"Encoder_Q\.(conv1|bn1)\.", r"backbone.\1."),
    *((rf"Encoder_M\.res{i + 1}\.", f"memory.value_encoder.trunk.layer{i}.") for i in (1, 2, 3)),
    *((rf"Encoder_Q\.res{i + 1}\.", f"backbone.layer{i}.") for i in (1, 2, 3)),
    (r"KV_M_r4\.Key\.", "memory.value_encoder.key."),
    (r"KV_M_r4\.Value\.", "memory.value_encoder.value."),
    (r"KV_Q_r4\.Key\.", "memory.key."),
    (r"KV_Q_r4\.Value\.", "memory.query_value."),
    (r"Decoder\.convFM\.", "decoder.compress.0."),
    (r"Decoder\.ResMM\.", "decoder.compress.1."),
    *(
        (rf"Decoder\.RF{stage}\.{theirs}\.", f"decoder.{up}.{ours}.")
        for stage, up in ((3, "up_16_8"), (2, "up_8_4"))
        for theirs, ours in (
            ("convFS", "skip_conv"),
            ("ResFS", "skip_block"),
            ("ResMM", "out_conv"),
        )
    ),
    (r"Decoder\.pred2\.", "decoder.pred."),
)
# MemSAM's parts are XMem's, below "memory.", where it also has its image encoder a second time and
# a stage of the value encoder that never runs.
_MEMSAM = (
    *((rf"memory\.{theirs}", ours) for theirs, ours in (*_PROJECTIONS, *_VALUES, *_SENSORY)),
    (r"memory\.memory_reinforce\.conv_wxh\.", "memory.value_encoder.reinforcement.conv1."),
    (r"memory\.memory_reinforce\.conv_1x1\.", "memory.value_encoder.reinforcement.conv2."),
)
_DEAD = re.compile(r"Encoder_[MQ]\.(mean|std)|memory\.(key_encoder|value_encoder\.layer3)\..+")
# A key that tells a system's files from others.
_SYSTEMS = {
    "Encoder_M.conv1_m.weight": _STM,
    "key_proj.key_proj.weight": _STCN_XMEM,
    "memory.key_proj.key_proj.weight": _MEMSAM,
}


def memory_keys(keys: Iterable[str]) -> dict[str, str | None]:
    """Rename the keys of a file of one of these systems.

    Args:
        keys: As in the file.

    Returns:
        This project's key for each that is a memory's, or one of its key encoder and decoder; None
        for what has no effect. What is not there keeps its name.
    """
    keys = set(keys)
    rules = next((rules for key, rules in _SYSTEMS.items() if key in keys), ())
    dead = {key: None for key in keys if rules and _DEAD.fullmatch(key)}
    renamed = {key: _renamed(key, rules) for key in keys - set(dead)}
    return dead | {key: own for key, own in renamed.items() if own != key}


def _renamed(key: str, rules: Iterable[tuple[str, str]]) -> str:
    for theirs, ours in rules:
        own, count = re.subn(f"^{theirs}", ours, key)
        if count:
            for inner, name in _FUSION:
                own = re.sub(inner, name, own)
            return own
    return key
