"""STM: the first memory network of films, with an encoder of its own for what it keeps (ICCV 2019).

The first frame's masks are given. Its training is not published; here cross entropy, from scratch.
Data: CAMUS, clips of 8 frames to train on, whole films to test.
Command: tools/train.py configs/stm.py --data-root PATH
"""

_base_ = "_base_/memory.py"

model = dict(
    memory=dict(
        type="SpaceTimeMemory",
        similarity="dot",
        embed_dims=1024,
        key_dims=128,
        value_dims=512,
        every=5,
        keep_last=True,
        query_dims=512,
        value_encoder=dict(pair=True),
    ),
    decoder=dict(
        in_channels=1024,
        widths=(256, 256, 256),
        compress="conv",
        refine_skips=True,
        num_outputs=2,
    ),
)

scales = dict(
    tiny=dict(
        model=dict(
            memory=dict(
                embed_dims=64,
                key_dims=16,
                value_dims=32,
                query_dims=32,
                value_encoder=dict(base_channels=4, blocks=(1, 1, 1)),
            ),
            decoder=dict(in_channels=64, widths=(16, 16, 16)),
        )
    )
)
