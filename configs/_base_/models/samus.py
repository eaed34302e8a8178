"""SAMUS: SAM's ViT-B at 256 x 256 with adapters and a CNN branch; SAM's own parts stay frozen."""

model = dict(
    type="PromptableSegmentor",
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(0.0,), std=(255.0,)),
    backbone=dict(type="SAMUS", arch="base", img_size=256),
    prompt_head=dict(type="ManualPromptHead", prompts=("points",)),
    decoder=dict(type="SAMMaskDecoder"),
    loss=dict(type="DiceCELoss", dice_weight=0.8, ce_weight=0.2),
    # What is SAM's own stays as it is; what SAMUS adds trains.
    frozen=(
        "backbone.patch_embed.*",
        "backbone.pos_embed",
        "backbone.blocks.*.norm[12].*",
        "backbone.blocks.*.attn.*",
        "backbone.blocks.*.mlp.*",
        "backbone.neck.*",
        "prompt_head.*",
        "decoder.*",
    ),
    # The relative positions of the global blocks train too: their grid is not SAM's.
    trainable=("backbone:global_positions",),
    pretrained="checkpoints/sam_vit_b_01ec64.pth",
)

# --scale tiny: the same code path from scratch, at a size for two CPU cores.
_tiny_data = dict(dataset=dict(image_size=(96, 96)))
scales = dict(
    tiny=dict(
        model=dict(
            backbone=dict(
                embed_dims=96,
                depth=4,
                num_heads=4,
                global_attn_indexes=(1, 3),
                img_size=96,
                pos_embed_size=24,
                window_size=6,
                conv_channels=(16, 32, 64),
                out_channels=64,
            ),
            # One small model for three structures: each click says which one it is for.
            prompt_head=dict(num_structures=3),
            decoder=dict(num_heads=4, mlp_dims=256, iou_head_hidden=64),
            # What a click on the heart does not use: the estimated IoU, further masks, boxes and
            # masks as prompts. Processes that train together would wait for its gradients.
            frozen=(
                "decoder.iou_prediction_head.*",
                "decoder.output_hypernetworks_mlps.[123].*",
                "prompt_head.encoder.mask_downscaling.*",
                "prompt_head.encoder.point_embeddings.[23].*",
            ),
            trainable=(),
            pretrained=None,
        ),
        train_dataloader=dict(batch_size=2, **_tiny_data),
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        # From scratch a constant 1e-4 would take days: a short warm-up, then a cosine to nothing.
        optim_wrapper=dict(
            optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01),
            clip_grad=dict(max_norm=1.0),
        ),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.05, by_epoch=False, end=100),
            dict(type="CosineAnnealingLR", convert_to_iter_based=True),
        ],
        train_cfg=dict(max_epochs=15, val_interval=5),
    )
)
