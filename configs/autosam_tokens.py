"""AutoSAM with class tokens: SAM's decoder, trained to decode classes without prompts.

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/autosam_tokens.py --data-root PATH
"""

_base_ = [
    "_base_/datasets/camus.py",
    "_base_/schedules/adam.py",
    "_base_/runtime.py",
    "_base_/tiny_sam.py",
]

model = dict(
    type="ClipEncoderDecoder",
    data_preprocessor=dict(
        type="EchoDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    backbone=dict(type="SAMViT", arch="base", img_size=1024),
    decode_head=dict(
        type="ClassTokenHead",
        num_classes=4,
        loss_decode=[
            dict(type="StructureDiceLoss"),
            dict(type="CrossEntropyLoss", loss_name="loss_ce", avg_non_ignore=True),
        ],
    ),
    frozen=("backbone.*", "*iou*"),  # tokens and layers of the quality stay random, as published
    pretrained=dict(path="checkpoints/sam_vit_b_01ec64.pth", parts=("backbone",)),
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))

_full_data = dict(dataset=dict(image_size=(1024, 1024)))
train_dataloader = _full_data
val_dataloader = _full_data
test_dataloader = _full_data

# There are no weights of SAM's at --scale tiny, so all of it trains from scratch.
scales = dict(
    tiny=dict(
        model=dict(
            decode_head=dict(in_channels=64, num_heads=4, mlp_dims=256, iou_head_hidden=64),
            frozen=("*iou_prediction_head*",),
            pretrained=None,
        )
    )
)
