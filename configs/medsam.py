"""MedSAM: all of SAM ViT-B's encoder and decoder trained on boxes.

Data: CAMUS, see _base_/datasets/camus.py. Weights: tools/download_weights.py sam_vit_b, or
published ones: --cfg-options model.pretrained=checkpoints/medsam_vit_b.pth
Command: tools/train.py configs/medsam.py --data-root PATH
"""

_base_ = "sam_finetune.py"

# Without what boxes and a single mask do not use.
_unused = ("decoder.iou_prediction_head.*", "decoder.output_hypernetworks_mlps.[123].*")
model = dict(
    # As published: each frame from its darkest pixel, 0, to its brightest, 1.
    data_preprocessor=dict(mean=(0.0,), std=(255.0,), minmax=True),
    prompt_head=dict(prompts=("boxes",)),
    loss=dict(dice_weight=1.0, ce_weight=1.0),
    frozen=("prompt_head.*", *_unused),
)

# As published: in training each side of a box moves outwards, by up to 20 pixels of 1024.
_pipeline = [dict(type="LoadClip"), dict(type="ResizeClip")]
train_pipeline = [*_pipeline, dict(type="BoxPrompts", outward=20), dict(type="PackClip")]
test_pipeline = [*_pipeline, dict(type="BoxPrompts"), dict(type="PackClip")]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, weight_decay=0.01, fused=True)
)

# There are no weights of SAM's at --scale tiny: the embedding of boxes trains too.
_tiny_pipeline = [*_pipeline, dict(type="BoxPrompts", outward=2), dict(type="PackClip")]
scales = dict(
    tiny=dict(
        model=dict(
            frozen=(
                *_unused,
                "prompt_head.encoder.mask_downscaling.*",
                "prompt_head.encoder.point_embeddings.[01].*",
                "prompt_head.encoder.not_a_point_embed.*",
            )
        ),
        train_dataloader=dict(dataset=dict(pipeline=_tiny_pipeline)),
    )
)
