"""U-Net on EfficientNet-Lite0 from ImageNet, every frame on its own: the quick model of the zoo.

Data: CAMUS, see _base_/datasets/camus_screens.py.
Weights: tools/download_weights.py efficientnet_lite0
Command: tools/train.py configs/efficient_unet.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus_screens.py", "_base_/schedules/adamw_ema.py"]

model = dict(
    type="ClipEncoderDecoder",
    # The scaling of the published weights: the grey image stands for three channels.
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(127.0,) * 3, std=(128.0,) * 3),
    backbone=dict(type="EfficientNetLite", arch="lite0"),
    decode_head=dict(
        type="UNetHead",
        num_classes=4,
        loss_decode=[
            dict(type="StructureDiceLoss", loss_weight=0.8),
            dict(
                type="CrossEntropyLoss", loss_name="loss_ce", loss_weight=0.2, avg_non_ignore=True
            ),
        ],
    ),
    # Fitted when the training ends.
    view_head=dict(type="ViewHead", in_channels=(40, 112, 320)),
    pretrained="checkpoints/efficientnet-lite0-57934424.pth",
)

train_cfg = dict(max_epochs=24)

# --scale tiny: half of the channels from scratch, 96 x 96.
_tiny_data = dict(dataset=dict(image_size=(96, 96)))
scales = dict(
    tiny=dict(
        model=dict(
            backbone=dict(width=0.5),
            decode_head=dict(in_channels=(8, 16, 24, 56, 160), widths=(48, 32, 24, 16)),
            view_head=dict(in_channels=(24, 56, 160)),
            pretrained=None,
        ),
        train_dataloader=_tiny_data,
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.05, by_epoch=False, end=50),
            dict(type="CosineAnnealingLR", convert_to_iter_based=True),
        ],
        train_cfg=dict(max_epochs=15, val_interval=5),
    )
)
