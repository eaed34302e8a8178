"""SAM ViT-B at 1024 x 1024 as published: nothing trains but the mask decoder.

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Zero-shot:   tools/test.py configs/sam.py checkpoints/sam_vit_b_01ec64.pth --data-root PATH
Fine-tuning: tools/train.py configs/sam.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(
    type="PromptableSegmentor",
    data_preprocessor=dict(
        type="EchoDataPreprocessor", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    backbone=dict(type="SAMViT", arch="base", img_size=1024),
    prompt_head=dict(
        type="ManualPromptHead", img_size=1024, embedding_size=64, prompts=("points",)
    ),
    decoder=dict(type="SAMMaskDecoder"),
    loss=dict(type="DiceCELoss", dice_weight=0.8, ce_weight=0.2),
    # Of the decoder, what a single mask does not use stays as it is too.
    frozen=(
        "backbone.*",
        "prompt_head.*",
        "decoder.iou_prediction_head.*",
        "decoder.output_hypernetworks_mlps.[123].*",
    ),
    pretrained="checkpoints/sam_vit_b_01ec64.pth",
)

image_size = dict(dataset=dict(image_size=(1024, 1024)))
train_dataloader = image_size
val_dataloader = image_size
test_dataloader = image_size
