"""LiteMedSAM at 256 x 256 with its published weights: a box a structure in, a mask out.

As published it knows whole objects, such as LV and LA; a ring as the myocardium needs fine-tuning.

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py lite_medsam
Without training: tools/test.py configs/lite_medsam.py checkpoints/lite_medsam.pth --data-root PATH
Fine-tuning:      tools/train.py configs/lite_medsam.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(
    type="PromptableSegmentor",
    # As LiteMedSAM was trained: each frame from its darkest pixel, 0, to its brightest, 1.
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(0.0,), std=(255.0,), minmax=True),
    backbone=dict(type="TinyViT"),
    prompt_head=dict(type="ManualPromptHead", prompts=("boxes",)),
    decoder=dict(type="SAMMaskDecoder"),
    loss=dict(type="DiceCELoss", dice_weight=0.8, ce_weight=0.2),
    # The encoder and the decoder train. Batch norms stay as published: a batch is one film here.
    # So does what a box and a single mask do not use.
    frozen=(
        "backbone.*.bn.*",
        "prompt_head.*",
        "decoder.iou_prediction_head.*",
        "decoder.output_hypernetworks_mlps.[123].*",
    ),
    pretrained="checkpoints/lite_medsam.pth",
)

# The longer side becomes 256 pixels, zeros fill the rest; so films are turned before.
train_pipeline = [
    dict(type="LoadClip"),
    dict(type="RandomGamma", gamma=(1.0, 2.4), prob=0.5),
    dict(type="RandomRotate", degrees=30, prob=0.5),
    dict(type="RandomScaleCrop", scale=(1.0, 1.3), prob=0.5),
    dict(type="RandomContrast", contrast=(0.8, 2.0), prob=0.5),
    dict(type="ResizeClip", keep_aspect=True),
    dict(type="BoxPrompts", jitter=0.05),
    dict(type="PackClip"),
]
test_pipeline = [
    dict(type="LoadClip"),
    dict(type="ResizeClip", keep_aspect=True),
    dict(type="BoxPrompts"),
    dict(type="PackClip"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

# LiteMedSAM's own, for fine-tuning.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=5e-5, weight_decay=0.01, fused=True),
)
