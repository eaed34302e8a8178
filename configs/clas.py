"""CLAS: a U-Net over clips that learns motion, and masks that follow it, from two labelled frames.

Clips of 10 frames from end diastole to end systole, both views; the frames between the two learn
from the labels carried to them.
Data: CAMUS, see _base_/datasets/camus.py.
Command: tools/train.py configs/clas.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(
    type="ClipEncoderDecoder",
    # Each frame from its darkest pixel, -1, to its brightest, 1.
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(127.5,), std=(127.5,), minmax=True),
    backbone=dict(type="UNet3D"),
    decode_head=dict(
        type="PixelHead",
        in_channels=32,
        num_classes=4,
        # The published code has of_probabilities=True, a slip.
        loss_decode=dict(type="SquaredDiceCELoss"),
    ),
    film_losses=[dict(type="WarpConsistency", in_channels=32, start_epoch=10)],
    postprocessing=[dict(type="FillHoles"), dict(type="LargestComponent")],
)

_clips = dict(clip_length=10, labels="ends", spread=True)
train_dataloader = dict(batch_size=4, dataset=_clips)
val_dataloader = dict(dataset=_clips)
test_dataloader = dict(dataset=_clips)

optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={"film_losses": dict(lr_mult=0.5)}),
)
param_scheduler = [dict(type="MultiStepLR", milestones=[25], gamma=0.1, by_epoch=True)]
train_cfg = dict(max_epochs=30)

# --scale tiny: a quarter of the channels, 96 x 96.
_tiny_data = dict(dataset=dict(image_size=(96, 96)))
scales = dict(
    tiny=dict(
        model=dict(
            backbone=dict(widths=(8, 16, 32, 64, 64, 64), up_widths=(32, 16, 8, 8, 8)),
            decode_head=dict(in_channels=8),
            film_losses=[dict(type="WarpConsistency", in_channels=8, start_epoch=5)],
        ),
        train_dataloader=_tiny_data,
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        optim_wrapper=dict(optimizer=dict(lr=1e-3)),
        param_scheduler=[dict(type="MultiStepLR", milestones=[12], gamma=0.1, by_epoch=True)],
        train_cfg=dict(max_epochs=15, val_interval=5),
    )
)
