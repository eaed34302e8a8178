"""nnU-Net's plain convolutional U-Net with deep supervision: its architecture only.

nnU-Net itself is more: it plans sizes from the data, augments heavily, tests in windows and with
mirrored images, averages five folds. tools/export_nnunet.py writes the data for the real thing.

Data: CAMUS, see _base_/datasets/camus.py.
Command: tools/train.py configs/nnunet.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

widths = (32, 64, 128, 256, 512, 512, 512)
model = dict(
    type="ClipEncoderDecoder",
    # nnU-Net gives each image mean 0 and deviation 1; these are CAMUS's. Its norms do the rest.
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(47.0,), std=(55.0,)),
    backbone=dict(type="PlainConvEncoder", widths=widths),
    decode_head=dict(
        type="PlainConvHead",
        in_channels=widths,
        num_classes=4,
        loss_decode=[
            dict(type="StructureDiceLoss"),
            dict(type="CrossEntropyLoss", loss_name="loss_ce", avg_non_ignore=True),
        ],
    ),
)

# nnU-Net's: stochastic gradient descent with much momentum, a rate that falls to nothing.
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type="SGD", lr=0.01, momentum=0.99, nesterov=True, weight_decay=3e-5
    ),
    clip_grad=dict(max_norm=12.0),
)
param_scheduler = [dict(type="PolyLR", power=0.9, convert_to_iter_based=True)]

# --scale tiny: five stages of a third of the channels, 96 x 96.
_tiny_data = dict(dataset=dict(image_size=(96, 96)))
_tiny_widths = (12, 24, 48, 96, 128)
scales = dict(
    tiny=dict(
        model=dict(backbone=dict(widths=_tiny_widths), decode_head=dict(in_channels=_tiny_widths)),
        train_dataloader=dict(batch_size=4, **_tiny_data),
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        param_scheduler=[dict(type="PolyLR", power=0.9, convert_to_iter_based=True)],
        train_cfg=dict(max_epochs=15, val_interval=5),
    )
)
