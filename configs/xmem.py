"""XMem: three memories, of the moment, of recent frames and of long ago (ECCV 2022).

The first frame's masks are given. Published: cross entropy of the hardest pixels alone, late in
training; here of all pixels. Data: CAMUS, clips of 8 frames to train on, whole films to test.
Command: tools/train.py configs/xmem.py --data-root PATH
"""

_base_ = "_base_/memory.py"

model = dict(
    memory=dict(
        type="SpaceTimeMemory",
        similarity="anisotropic_l2",
        embed_dims=1024,
        value_dims=512,
        top_k=30,
        every=5,
        long_term=dict(longest=10, shortest=5, prototypes=128, most=10_000),
        prompt_dims=512,
        sensory_dims=64,
        sensory_maps=(512, 256, 256),
    ),
    decoder=dict(senses=True),
    loss=dict(dice_weight=1.0),
)
optim_wrapper = dict(optimizer=dict(type="AdamW", weight_decay=0.05))
find_unused_parameters = True  # short clips, and chance, leave an update of the senses idle

scales = dict(
    tiny=dict(
        model=dict(
            memory=dict(
                embed_dims=64,
                key_dims=16,
                value_dims=32,
                long_term=dict(prototypes=16),
                prompt_dims=32,
                sensory_dims=16,
                sensory_maps=(32, 16, 16),
                value_encoder=dict(base_channels=16),
            ),
        )
    )
)
