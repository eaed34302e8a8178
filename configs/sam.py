"""SAM ViT-B as published, nothing trains: what one click is worth untouched.

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Command: tools/test.py configs/sam.py checkpoints/sam_vit_b_01ec64.pth --data-root PATH
At 256 x 256 instead of 1024 x 1024: --scale 256
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(
    type="PromptableSegmentor",
    data_preprocessor=dict(
        type="EchoDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    backbone=dict(type="SAMViT", arch="base", img_size=1024),
    prompt_head=dict(type="ManualPromptHead", prompts=("points",)),
    decoder=dict(type="SAMMaskDecoder"),
    loss=dict(type="DiceCELoss", dice_weight=0.8, ce_weight=0.2),
    frozen=("*",),
    pretrained="checkpoints/sam_vit_b_01ec64.pth",
)

_full_data = dict(dataset=dict(image_size=(1024, 1024)))
train_dataloader = _full_data
val_dataloader = _full_data
test_dataloader = _full_data

_small_data = dict(dataset=dict(image_size=(256, 256)))
scales = {
    "256": dict(
        model=dict(backbone=dict(img_size=256)),
        train_dataloader=_small_data,
        val_dataloader=_small_data,
        test_dataloader=_small_data,
    )
}
