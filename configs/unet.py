"""U-Net, every frame on its own: the classical baseline, made of mmseg's parts.

Data: CAMUS, see _base_/datasets/camus.py.
Command: tools/train.py configs/unet.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

norm = dict(type="BN", requires_grad=True)
model = dict(
    type="ClipEncoderDecoder",
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(0.0,), std=(255.0,)),
    backbone=dict(type="UNet", in_channels=1, base_channels=64, norm_cfg=norm),
    decode_head=dict(
        type="FCNHead",
        in_channels=64,
        in_index=4,
        channels=64,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=4,
        norm_cfg=norm,
        align_corners=False,
        loss_decode=[
            dict(type="StructureDiceLoss", loss_weight=0.8),
            dict(
                type="CrossEntropyLoss",
                loss_name="loss_ce",
                loss_weight=0.2,
                avg_non_ignore=True,
            ),
        ],
    ),
)
