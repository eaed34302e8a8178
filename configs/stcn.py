"""STCN: one encoder for what is kept and what looks, and distances in place of products (2021).

The first frame's masks are given. Published: cross entropy of the hardest pixels alone, late in
training; here of all pixels. Data: CAMUS, clips of 8 frames to train on, whole films to test.
Command: tools/train.py configs/stcn.py --data-root PATH
"""

_base_ = "_base_/memory.py"

model = dict(
    memory=dict(
        type="SpaceTimeMemory",
        similarity="l2",
        embed_dims=1024,
        value_dims=512,
        top_k=20,
        every=5,
        query_dims=512,
        value_encoder=dict(bias=True, image_first=False),
    ),
    decoder=dict(in_channels=1024, compress="block"),
)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-7))

scales = dict(
    tiny=dict(
        model=dict(
            memory=dict(
                embed_dims=64,
                key_dims=16,
                value_dims=32,
                query_dims=32,
                value_encoder=dict(base_channels=16),
            ),
            decoder=dict(in_channels=64),
        )
    )
)
