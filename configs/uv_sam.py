"""UV-SAM: SegFormer-B0's coarse masks become boxes, masks and a meaning that prompt a frozen SAM.

Data: CAMUS, see _base_/datasets/camus.py; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/uv_sam.py --data-root PATH

The published code asks whether the right and lower edge of a box, in place of its sides, exceed 100
of 1024 pixels. To have that: --cfg-options model.prompt_head.tests_corners=True
"""

_base_ = "sam_finetune.py"

model = dict(
    prompt_head=dict(
        _delete_=True,
        type="UVSAMPromptHead",
        num_structures=3,
        coarse=dict(
            backbone=dict(
                type="MixVisionTransformer",
                embed_dims=32,
                num_layers=(2, 2, 2, 2),
                num_heads=(1, 2, 5, 8),
                patch_sizes=(7, 3, 3, 3),
                sr_ratios=(8, 4, 2, 1),
            ),
            decode_head=dict(
                type="FusingSegformerHead",
                in_channels=(32, 64, 160, 256),
                in_index=(0, 1, 2, 3),
                channels=256,
                num_classes=3,
                norm_cfg=dict(type="BN", requires_grad=True),
                align_corners=False,
            ),
        ),
    ),
    decoder=dict(type="UnitingMaskDecoder"),
    # Published: a tenth of the loss of SAM's masks beside the coarse network's own.
    loss=dict(dice_weight=0.1, ce_weight=0.1),
    frozen=("backbone.*", "prompt_head.encoder.*", "decoder.*"),
)

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            prompt_head=dict(
                fused_dims=64,
                coarse=dict(
                    backbone=dict(embed_dims=16, num_layers=(1, 1, 1, 1)),
                    decode_head=dict(in_channels=(16, 32, 80, 128), channels=64),
                ),
            ),
            frozen=(
                "decoder.iou_prediction_head.*",
                "decoder.output_hypernetworks_mlps.[123].*",
                "prompt_head.encoder.point_embeddings.[01].*",
                "prompt_head.encoder.no*_embed.*",
            ),
        )
    )
)
