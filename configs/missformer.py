"""MISSFormer: a transformer whose maps of four sizes attend to each other, from scratch.

Data: CAMUS, see _base_/datasets/camus.py.
Command: tools/train.py configs/missformer.py --data-root PATH
At 224 x 224, as published, instead of 256 x 256: --scale 224
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(
    type="ClipEncoderDecoder",
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(127.5,), std=(127.5,)),
    backbone=dict(type="MISSFormerEncoder", embed_dims=64),
    decode_head=dict(
        type="MISSFormerHead",
        num_classes=4,
        loss_decode=[
            dict(type="StructureDiceLoss", loss_weight=0.6),
            dict(
                type="CrossEntropyLoss",
                loss_name="loss_ce",
                loss_weight=0.4,
                avg_non_ignore=True,
            ),
        ],
    ),
)

# The published recipe but for its 400 epochs in batches of 24.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=12.0),
)
param_scheduler = [dict(type="PolyLR", power=0.9, convert_to_iter_based=True)]

_published_data = dict(dataset=dict(image_size=(224, 224)))
# --scale tiny: a quarter of the channels, 96 x 96.
_tiny_data = dict(dataset=dict(image_size=(96, 96)))
scales = {
    "224": dict(
        train_dataloader=_published_data,
        val_dataloader=_published_data,
        test_dataloader=_published_data,
    ),
    "tiny": dict(
        model=dict(
            backbone=dict(embed_dims=16, depth=1, bridge_depth=2),
            decode_head=dict(in_channels=(16, 32, 80, 128)),
        ),
        train_dataloader=dict(batch_size=4, **_tiny_data),
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        optim_wrapper=dict(optimizer=dict(_delete_=True, type="AdamW", lr=2e-3, weight_decay=0.01)),
        param_scheduler=[dict(type="PolyLR", power=0.9, convert_to_iter_based=True)],
        train_cfg=dict(max_epochs=15, val_interval=5),
    ),
}
