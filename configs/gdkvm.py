"""GDKVM: a film's past in one matrix a structure, of one size however long the film is (ICCV 2025).

No frame is given. Clips of 10 frames from end diastole to end systole, whose two ends are labelled.
XMem's network reads and decodes; OSA (CVPR 2026) is model.memory.orthonormal_steps=10.
Data: CAMUS, whole films to test.
Command: tools/train.py configs/gdkvm.py --data-root PATH
"""

_base_ = "_base_/memory.py"

model = dict(
    prompted=(),
    revisit=True,
    memory=dict(
        type="DeltaMemory",
        embed_dims=1024,
        value_dims=256,
        num_structures=3,
        prompt_dims=512,
        sensory_dims=256,
        sensory_maps=(512, 256, 256),
    ),
    decoder=dict(senses=True),
    loss=dict(dice_weight=1.0),
)

train_dataloader = dict(batch_size=4, dataset=dict(clip_length=10, labels="ends", spread=True))
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=1e-3),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
)

scales = dict(
    tiny=dict(
        model=dict(
            memory=dict(
                embed_dims=64,
                key_dims=16,
                value_dims=32,
                prompt_dims=32,
                sensory_dims=16,
                sensory_maps=(32, 16, 16),
                value_encoder=dict(base_channels=16),
            ),
        ),
        optim_wrapper=dict(paramwise_cfg=dict(_delete_=True)),
    )
)
