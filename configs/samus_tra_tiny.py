"""samus_tra at a size that trains on two CPU cores: the same code path, from scratch, 128 x 128.

Data: CAMUS, or what tools/make_phantom.py writes.
Command: tools/train.py configs/samus_tra_tiny.py --data-root PATH
"""

_base_ = ["_base_/datasets/camus.py", "_base_/schedules/adam.py", "_base_/runtime.py"]

model = dict(
    type="PromptableSegmentor",
    data_preprocessor=dict(type="EchoDataPreprocessor", mean=(0.0,), std=(255.0,)),
    backbone=dict(
        type="SAMUS",
        embed_dims=96,
        depth=4,
        num_heads=4,
        global_attn_indexes=(1, 3),
        img_size=128,
        pos_embed_size=32,
        window_size=8,
        conv_channels=(16, 32, 64),
        out_channels=64,
        temporal=dict(type="TRA"),
    ),
    prompt_head=dict(
        type="ManualPromptHead",
        embed_dims=64,
        img_size=128,
        embedding_size=16,
        prompts=("points",),
        # One small model for three structures: each click says which one it is for.
        num_structures=3,
    ),
    decoder=dict(
        type="SAMMaskDecoder", embed_dims=64, num_heads=4, mlp_dims=256, iou_head_hidden=64
    ),
    loss=dict(type="DiceCELoss", dice_weight=0.8, ce_weight=0.2),
    # What a click on the heart does not use: the estimated IoU, further masks, boxes and masks as
    # prompts. Processes that train together would wait for its gradients.
    frozen=(
        "decoder.iou_prediction_head.*",
        "decoder.output_hypernetworks_mlps.[123].*",
        "prompt_head.encoder.mask_downscaling.*",
        "prompt_head.encoder.point_embeddings.[23].*",
    ),
)

image_size = dict(dataset=dict(image_size=(128, 128)))
train_dataloader = dict(batch_size=2, **image_size)
val_dataloader = image_size
test_dataloader = image_size

# From scratch a constant 1e-4 would take days: a short warm-up, then a cosine down to nothing.
max_epochs = 50
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, by_epoch=False, end=200),
    dict(
        type="CosineAnnealingLR",
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
