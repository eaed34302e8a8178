"""U-Net, every frame on its own: the classical baseline of mmseg's parts (tra.txt, table 1).

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

# --scale tiny: 12 channels first, 96 x 96, at a rate that suits a short training.
_tiny_data = dict(dataset=dict(image_size=(96, 96)))
scales = dict(
    tiny=dict(
        model=dict(backbone=dict(base_channels=12), decode_head=dict(in_channels=12, channels=12)),
        train_dataloader=dict(batch_size=4, **_tiny_data),
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        optim_wrapper=dict(optimizer=dict(lr=2e-3)),
        param_scheduler=[dict(type="PolyLR", power=0.9, convert_to_iter_based=True)],
        train_cfg=dict(max_epochs=15, val_interval=5),
    )
)
