"""MemSAM: SAMUS with a memory of earlier frames as the decoder's dense prompt (CVPR 2024).

Of a film the first frame is clicked. As published, grey values enter as 0..255, and the memory is
fed with logits; masks are cut at 0.5 here (published: 0.6), and all structures are segmented at
once (published: --dataset structures=lv).
Data: CAMUS, clips of 10 frames. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/memsam.py --data-root PATH
"""

_base_ = [
    "_base_/models/samus.py",
    "_base_/datasets/camus.py",
    "_base_/schedules/adam.py",
    "_base_/runtime.py",
]

model = dict(
    type="StreamSegmentor",
    data_preprocessor=dict(std=(1.0,)),
    memory=dict(
        type="SpaceTimeMemory",
        similarity="anisotropic_l2",
        embed_dims=256,
        value_dims=256,
        prompt_hidden=512,
        sensory_dims=64,
        feed="logits",
        # The published code draws at a test, too, whether a frame changes the sensory state.
        deep_every=5,
        # Published: all frames of a clip of 10. More is for whole films.
        max_frames=10,
        value_encoder=dict(stages=2, reinforce=128),
    ),
    aggregate=False,
    loss=dict(pos_weight=2.0),
)
clips = dict(dataset=dict(clip_length=10))
train_dataloader = clips
val_dataloader = clips
test_dataloader = clips

scales = dict(
    tiny=dict(
        model=dict(
            memory=dict(
                embed_dims=64,
                key_dims=16,
                value_dims=32,
                prompt_dims=64,
                prompt_hidden=64,
                sensory_dims=16,
                value_encoder=dict(reinforce=16, base_channels=16),
            )
        )
    )
)
