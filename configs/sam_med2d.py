"""SAM-Med2D: gated convolutions beside SAM's MLPs, trained with rounds of corrected prompts.

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/sam_med2d.py --data-root PATH

In the published training what embeds points stays as SAM has it. To have that:
--cfg-options model.frozen="(...)" with "prompt_head.encoder.point_embeddings.[01].*" and
"prompt_head.encoder.not_a_point_embed.*" beside the patterns below.
"""

_base_ = [
    "_base_/datasets/camus.py",
    "_base_/schedules/adam.py",
    "_base_/runtime.py",
    "_base_/tiny_sam.py",
]

model = dict(
    type="InteractiveSegmentor",
    data_preprocessor=dict(
        type="EchoDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    backbone=dict(type="SAMViT", arch="base", img_size=256),
    adapters=[dict(type="GatedConv", at="backbone.blocks.*.mlp")],
    # A mask as prompt is one of probabilities.
    prompt_head=dict(type="ManualPromptHead", prompts=("points",), mask_probabilities=True),
    decoder=dict(type="BestMaskDecoder"),
    loss=dict(type="FocalDiceIoULoss"),
    # Masks as prompts come in rounds in which the prompt encoder does not learn; the single mask is
    # never drawn.
    frozen=(
        "backbone.*",
        "prompt_head.encoder.mask_downscaling.*",
        "decoder.output_hypernetworks_mlps.0.*",
    ),
    trainable=("*.mlp.gate.*", "*.mlp.down.*", "*.mlp.up.*", "*.mlp.norm.*"),
    pretrained="checkpoints/sam_vit_b_01ec64.pth",
)

train_pipeline = [
    dict(type="LoadResizedClip"),
    dict(type="RandomScaleCrop", scale=(1.0, 1.3), prob=0.5),
    dict(type="PointPrompts", rule="random"),
    dict(type="BoxPrompts", jitter=0.05),
    dict(type="PackClip"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
find_unused_parameters = True  # a step's first prompt is a point or a box

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch, for 3 rounds.
scales = dict(
    tiny=dict(
        model=dict(
            rounds=3,
            prompt_head=dict(num_structures=3),
            decoder=dict(num_heads=4, mlp_dims=256, iou_head_hidden=64),
            frozen=(
                "prompt_head.encoder.mask_downscaling.*",
                "decoder.output_hypernetworks_mlps.0.*",
            ),
            trainable=(),
            pretrained=None,
        )
    )
)
