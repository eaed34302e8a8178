"""Segment Any Cell's way: a U-Net's coarse masks become points for a SAM with LoRA in q and v.

Data: CAMUS, see _base_/datasets/camus.py; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/sac.py --data-root PATH
"""

_base_ = "sam_finetune.py"

_unet_norm = dict(type="BN", requires_grad=True)
model = dict(
    adapters=[dict(type="LoRA", rank=4, of=3, parts=(0, 2), at="backbone.blocks.*.attn.qkv")],
    prompt_head=dict(
        _delete_=True,
        type="CoarsePointPromptHead",
        num_structures=3,
        sampler="grid",  # a point for each of 8 x 8 cells, foreground or background
        num_points=8,
        threshold=0.0,
        coarse_size=256,
        coarse=dict(
            backbone=dict(type="UNet", in_channels=3, base_channels=32, norm_cfg=_unet_norm),
            decode_head=dict(
                type="FCNHead",
                in_channels=32,
                in_index=4,
                channels=32,
                num_convs=1,
                concat_input=False,
                dropout_ratio=0.0,
                num_classes=3,
                norm_cfg=_unet_norm,
                align_corners=False,
            ),
        ),
    ),
    # Without what a single mask from points does not use.
    frozen=(
        "backbone.*",
        "prompt_head.encoder.*",
        "decoder.iou_prediction_head.*",
        "decoder.output_hypernetworks_mlps.[123].*",
    ),
    trainable=("*.lora_*",),
)

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            prompt_head=dict(
                num_points=4,
                coarse_size=None,
                coarse=dict(
                    backbone=dict(base_channels=8),
                    decode_head=dict(in_channels=8, channels=8),
                ),
            ),
            frozen=(
                "decoder.iou_prediction_head.*",
                "decoder.output_hypernetworks_mlps.[123].*",
                "prompt_head.encoder.mask_downscaling.*",
                "prompt_head.encoder.point_embeddings.[23].*",
            ),
            trainable=(),
        )
    )
)
