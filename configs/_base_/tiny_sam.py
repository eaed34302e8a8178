"""--scale tiny of a model on SAM's encoder: a ViT of 96 channels and 4 blocks at 96 x 96."""

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
                patch_size=8,
                window_size=6,
                out_channels=64,
            )
        ),
        train_dataloader=dict(batch_size=2, **_tiny_data),
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
        # From scratch: a short warm-up, then a cosine to nothing.
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
