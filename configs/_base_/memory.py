"""Memory networks on a ResNet: the first frame's masks are given, the other frames follow.

Frames whose masks were given are in no number and in no picture of best and worst.
"""

_base_ = ["datasets/camus.py", "schedules/adam.py", "runtime.py"]

model = dict(
    type="StreamSegmentor",
    data_preprocessor=dict(
        type="EchoDataPreprocessor",
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
    ),
    backbone=dict(type="ResNetTrunk", depth=50),
    decoder=dict(type="MemoryMaskDecoder"),
    loss=dict(type="DiceCELoss", dice_weight=0.0, ce_weight=1.0),
    revisit=False,
)

train_pipeline = [
    dict(type="LoadResizedClip"),
    dict(type="RandomGamma", gamma=(1.0, 2.4), prob=0.5),
    dict(type="RandomRotate", degrees=30, prob=0.5),
    dict(type="RandomScaleCrop", scale=(1.0, 1.3), prob=0.5),
    dict(type="RandomContrast", contrast=(0.8, 2.0), prob=0.5),
    dict(type="MaskPrompts", size=(256, 256)),
    dict(type="PackClip"),
]
test_pipeline = [
    dict(type="LoadClip"),
    dict(type="ResizeClip"),
    dict(type="MaskPrompts", size=(256, 256)),
    dict(type="PackClip"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# Whole films: a clip's first frame is given.
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, clip_length=None))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, clip_length=None))
optim_wrapper = dict(optimizer=dict(lr=1e-5))

_tiny_data = dict(dataset=dict(image_size=(96, 96)))
scales = dict(
    tiny=dict(
        model=dict(
            backbone=dict(depth=18, base_channels=16),
            decoder=dict(widths=(32, 16, 16), skip_channels=(32, 16)),
        ),
        train_dataloader=dict(batch_size=2, **_tiny_data),
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        optim_wrapper=dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0)),
        param_scheduler=[dict(type="PolyLR", power=0.9, convert_to_iter_based=True)],
        train_cfg=dict(max_epochs=15, val_interval=5),
    )
)
