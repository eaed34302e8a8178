"""LiteMedSAM that prompts itself: masks of three structures; it takes clicks and boxes too.

Its prompts are learnt tokens of each structure, and the masks of efficient_unet, which comes with
the zoo. The encoder's last stage, its neck and the decoder train.

Data: CAMUS, see _base_/datasets/camus_screens.py. Weights: tools/download_weights.py lite_medsam
Command: tools/train.py configs/lite_medsam_auto.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus_screens.py", "_base_/schedules/adamw_ema.py"]

model = dict(
    type="AutomaticSegmentor",
    # As LiteMedSAM was trained: each frame from its darkest pixel, 0, to its brightest, 1.
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(0.0,), std=(255.0,), minmax=True),
    backbone=dict(type="TinyViT"),
    prompt_head=dict(
        type="LearntPromptHead", coarse=dict(type="ZooNetwork", name="efficient_unet")
    ),
    decoder=dict(type="SAMMaskDecoder"),
    loss=dict(type="DiceCELoss", dice_weight=0.8, ce_weight=0.2),
    # Batch norms stay as published, and what three single masks do not use.
    frozen=(
        "backbone.patch_embed.*",
        "backbone.layers.[012].*",
        "*.bn.*",
        "prompt_head.coarse.*",
        "decoder.iou_prediction_head.*",
        "decoder.output_hypernetworks_mlps.[123].*",
    ),
    # Fitted when the training ends.
    view_head=dict(type="ViewHead", in_channels=(256,)),
    pretrained="checkpoints/lite_medsam.pth",
)

_boxes = [dict(type="BoxPrompts", jitter=0.1), dict(type="PackClip")]
train_pipeline = [*_base_.train_pipeline[:-1], *_boxes]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
find_unused_parameters = True  # a step may be without coarse masks

optim_wrapper = dict(optimizer=dict(lr=2e-4))
train_cfg = dict(max_epochs=2)

# --scale tiny: a quarter of the channels from scratch without coarse masks, 96 x 96.
_tiny_data = dict(dataset=dict(image_size=(96, 96)))
scales = dict(
    tiny=dict(
        model=dict(
            backbone=dict(
                embed_dims=(16, 32, 40, 80), num_heads=(1, 2, 4, 4), out_channels=64, stem_stride=4
            ),
            prompt_head=dict(coarse=None),
            decoder=dict(num_heads=4, mlp_dims=256, iou_head_hidden=64),
            view_head=dict(in_channels=(64,)),
            frozen=(
                "decoder.iou_prediction_head.*",
                "decoder.output_hypernetworks_mlps.[123].*",
                "prompt_head.encoder.mask_downscaling.*",
            ),
            pretrained=None,
        ),
        train_dataloader=_tiny_data,
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        train_cfg=dict(max_epochs=15, val_interval=5),
    )
)
