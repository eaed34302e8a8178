"""SAM ViT-B, its mask decoder fine-tuned as in the published SAMUS code (tra.txt, table 1).

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/sam_finetune.py --data-root PATH
At 256 x 256 instead of 1024 x 1024: --scale 256
"""

_base_ = "sam.py"

# Of the decoder, what a single mask does not use stays as it is too.
_unused = ("decoder.iou_prediction_head.*", "decoder.output_hypernetworks_mlps.[123].*")
model = dict(frozen=("backbone.*", "prompt_head.*", *_unused))

# --scale tiny: there are no weights of SAM's at this size, so all of it trains from scratch.
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
            ),
            # As SAMUS at this size: a learnt token says which structure a click is for.
            prompt_head=dict(num_structures=3),
            decoder=dict(num_heads=4, mlp_dims=256, iou_head_hidden=64),
            frozen=(
                *_unused,
                "prompt_head.encoder.mask_downscaling.*",
                "prompt_head.encoder.point_embeddings.[23].*",
            ),
            pretrained=None,
        ),
        train_dataloader=dict(batch_size=2, **_tiny_data),
        val_dataloader=_tiny_data,
        test_dataloader=_tiny_data,
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
