"""What the published STM, STCN, XMem and MemSAM call the weights of a memory."""

from __future__ import annotations

from echozoo.models.contracts import KeyMap

_FUSION = {
    "attention.ChannelGate.mlp.1.": "attention.channel_gate.0.",
    "attention.ChannelGate.mlp.3.": "attention.channel_gate.2.",
    "attention.SpatialGate.spatial.conv.": "attention.spatial_gate.",
}
_XMEM = {
    r"key_proj\.key_proj\.": "key.",
    r"key_proj\.d_proj\.": "shrinkage.",
    r"key_proj\.e_proj\.": "selection.",
    r"value_encoder\.(conv1|bn1|layer\d)\.": r"value_encoder.trunk.\1.",
    r"value_encoder\.fuser\.": "value_encoder.fuser.",
    r"value_encoder\.hidden_reinforce\.": "deep_update.",
    r"decoder\.fuser\.": "fuser.",
    r"decoder\.hidden_update\.transform\.": "update.transform.",
    r"decoder\.hidden_update\.g16_conv\.": "map_convs.0.",
    r"decoder\.hidden_update\.g8_conv\.": "map_convs.1.",
    r"decoder\.hidden_update\.g4_conv\.": "map_convs.2.",
}
_STM = {
    r"Encoder_M\.(mean|std)": None,
    r"Encoder_M\.conv1\.": "value_encoder.trunk.conv1.image.",
    r"Encoder_M\.conv1_m\.": "value_encoder.trunk.conv1.mask.",
    r"Encoder_M\.conv1_o\.": "value_encoder.trunk.conv1.others.",
    r"Encoder_M\.bn1\.": "value_encoder.trunk.bn1.",
    **{rf"Encoder_M\.res{i + 1}\.": f"value_encoder.trunk.layer{i}." for i in (1, 2, 3)},
    r"KV_M_r4\.Key\.": "value_encoder.key.",
    r"KV_M_r4\.Value\.": "value_encoder.value.",
    r"KV_Q_r4\.Key\.": "key.",
    r"KV_Q_r4\.Value\.": "query_value.",
}
# MemSAM's parts are XMem's, below "memory.", where it also has its image encoder a second time and
# a stage of the value encoder that never runs.
_MEMSAM = {
    r"memory\.(key_encoder|value_encoder\.layer3)\.": None,
    **{rf"memory\.{theirs}": ours for theirs, ours in _XMEM.items()},
    r"memory\.memory_reinforce\.conv_wxh\.": "value_encoder.reinforcement.conv1.",
    r"memory\.memory_reinforce\.conv_1x1\.": "value_encoder.reinforcement.conv2.",
}
PUBLISHED = (
    KeyMap({r"key_comp\.": "query_value.", **_XMEM}, _FUSION),  # STCN's too
    KeyMap(_STM),
    KeyMap(_MEMSAM, _FUSION),
)
