"""CE-Net (arXiv 1903.02740), every frame on its own, from ImageNet's ResNet-34 (tra.txt, table 1).

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py resnet34
Command: tools/train.py configs/ce_net.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(
    type="ClipEncoderDecoder",
    # ImageNet's scaling: the grey image stands for three channels.
    data_preprocessor=dict(
        type="EchoDataPreprocessor",
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
    ),
    backbone=dict(type="CENetEncoder"),
    neck=dict(type="ContextExtractor"),
    decode_head=dict(
        type="CENetHead",
        num_classes=4,
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
    pretrained="checkpoints/resnet34-b627a593.pth",
)

# --scale tiny: fewer and narrower stages from scratch, and pools that fit a map of 3 x 3.
_tiny_data = dict(dataset=dict(image_size=(96, 96)))
scales = dict(
    tiny=dict(
        model=dict(
            backbone=dict(layers=(1, 1, 1, 1), base_channels=24),
            neck=dict(in_channels=192, pool_sizes=(1, 2, 3)),
            decode_head=dict(in_channels=(24, 48, 96, 195), channels=12),
            pretrained=None,
        ),
        train_dataloader=dict(batch_size=4, **_tiny_data),
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        optim_wrapper=dict(optimizer=dict(lr=2e-3)),
        param_scheduler=[dict(type="PolyLR", power=0.9, convert_to_iter_based=True)],
        train_cfg=dict(max_epochs=15, val_interval=5),
    )
)
