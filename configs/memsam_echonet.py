"""MemSAM on EchoNet-Dynamic: clips of 10 frames from ED to ES, whose two ends are labelled.

As published: the first frame is clicked, the loss is that of the first and the last, which are
also those that are measured. EF is that of the masks of the two, beside the file list's.
Data: EchoNet-Dynamic. Weights: tools/download_weights.py sam_vit_b
Command: tools/train.py configs/memsam_echonet.py --data-root PATH
"""

_base_ = "memsam.py"

_data = dict(
    _delete_=True,
    type="EchoNetDataset",
    data_root=None,
    split="files",
    clip_length=10,
    spread=True,
    image_size=(256, 256),
)
_testing = dict(test_mode=True, pipeline={{_base_.test_pipeline}}, **_data)
train_dataloader = dict(dataset=dict(subset="train", pipeline={{_base_.train_pipeline}}, **_data))
val_dataloader = dict(dataset=dict(subset="val", **_testing))
test_dataloader = dict(dataset=dict(subset="test", **_testing))

# One structure: no click has to say which it is for.
scales = dict(tiny=dict(model=dict(prompt_head=dict(num_structures=None))))
