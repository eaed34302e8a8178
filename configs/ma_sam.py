"""MA-SAM: FacT in SAM's queries and values, adapters along time, masks at the input's size.

Data: CAMUS, clips of 8 frames; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/ma_sam.py --data-root PATH
"""

_base_ = "samed.py"

_adapter = dict(type="MASAM3DAdapter", at="blocks.*")
model = dict(
    backbone=dict(
        inserts=[dict(_adapter, when="before_attention"), dict(_adapter, when="before_mlp")]
    ),
    adapters=[dict(type="FacT", rank=32, of=3, parts=(0, 2), at="backbone.blocks.*.attn.qkv")],
    decode_head=dict(widths=(64, 32, 16, 8)),
    trainable=("*.fact_*", "backbone.inserts.*"),
    # SAM enlarges its masks in two steps only.
    pretrained=dict(
        parts=(
            "backbone",
            "decode_head.no_mask_embed",
            "decode_head.pe_layer",
            "decode_head.decoder.iou_token",
            "decode_head.decoder.transformer",
        ),
    ),
)

scales = dict(
    tiny=dict(
        model=dict(
            adapters=[
                dict(type="FacT", rank=8, of=3, parts=(0, 2), at="backbone.blocks.*.attn.qkv")
            ],
            decode_head=dict(widths=(32, 16, 8)),
            trainable=(),
        )
    )
)
