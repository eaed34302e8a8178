"""SAMed: LoRA in the queries and values of SAM's encoder, a decoder of classes without prompts.

Data: CAMUS, see _base_/datasets/camus.py; no prompts. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/samed.py --data-root PATH
"""

_base_ = [
    "_base_/datasets/camus.py",
    "_base_/schedules/adam.py",
    "_base_/runtime.py",
    "_base_/tiny_sam.py",
]

model = dict(
    type="ClipEncoderDecoder",
    # As published: grey values from 0 to 1, without SAM's mean and deviation.
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(0.0,), std=(255.0,)),
    backbone=dict(type="SAMViT", arch="base", img_size=256),
    adapters=[dict(type="LoRA", rank=4, of=3, parts=(0, 2), at="backbone.blocks.*.attn.qkv")],
    decode_head=dict(
        type="SAMSemanticHead",
        num_classes=4,
        loss_decode=[
            dict(type="StructureDiceLoss", loss_weight=0.8),
            dict(
                type="CrossEntropyLoss", loss_name="loss_ce", loss_weight=0.2, avg_non_ignore=True
            ),
        ],
    ),
    # The quality of masks is not used.
    frozen=("backbone.*", "decode_head.decoder.iou_prediction_head.*"),
    trainable=("*.lora_*",),
    # As published, without what SAM has for each of its masks: here these are classes.
    pretrained=dict(
        path="checkpoints/sam_vit_b_01ec64.pth",
        parts=(
            "backbone",
            "decode_head.no_mask_embed",
            "decode_head.pe_layer",
            "decode_head.decoder.iou_token",
            "decode_head.decoder.transformer",
            "decode_head.decoder.output_upscaling",
        ),
    ),
)
# A warm-up of 250 steps, then a polynomial decay, as in its README.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=0.005, weight_decay=0.1, fused=True)
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.004, by_epoch=False, end=250),
    dict(type="PolyLR", power=0.9, begin=1, end=100, convert_to_iter_based=True),
]

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            decode_head=dict(in_channels=64, num_heads=4, mlp_dims=256, iou_head_hidden=64),
            frozen=("decode_head.decoder.iou_prediction_head.*",),
            trainable=(),
            pretrained=None,
        )
    )
)
