"""AdapterShadow: a coarse network's points prompt a SAM with bottlenecks in every block.

The coarse network is EfficientNet-Lite1 with a U-Net's upward half, in place of EfficientNet-B1.

Data: CAMUS, see _base_/datasets/camus.py; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/adapter_shadow.py --data-root PATH

The published code hands its points to SAM as (row, column) in place of (x, y). To have that:
--cfg-options model.prompt_head.transposed=True. Points on a grid, its other sampler:
model.prompt_head.sampler=grid model.prompt_head.num_points=4
"""

_base_ = "sam_finetune.py"

model = dict(
    adapters=[
        dict(type="SerialBottleneck", at="backbone.blocks.*.attn.proj"),
        dict(type="ParallelBottleneck", at="backbone.blocks.*.mlp"),
    ],
    prompt_head=dict(
        _delete_=True,
        type="CoarsePointPromptHead",
        num_structures=3,
        sampler="topk",
        num_points=5,
        negatives=True,
        coarse_size=256,
        coarse=dict(
            backbone=dict(type="EfficientNetLite", arch="lite1"),
            decode_head=dict(type="UNetHead", widths=(64, 32, 16, 8), num_classes=3),
        ),
    ),
    # Without what a single mask from points does not use.
    frozen=(
        "backbone.*",
        "prompt_head.encoder.*",
        "decoder.iou_prediction_head.*",
        "decoder.output_hypernetworks_mlps.[123].*",
    ),
    trainable=("backbone.*.adapter.*",),
)

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            prompt_head=dict(
                coarse_size=None,
                coarse=dict(
                    backbone=dict(width=0.5),
                    decode_head=dict(in_channels=(8, 16, 24, 56, 160), widths=(48, 32, 24, 16)),
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
