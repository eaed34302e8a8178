"""SAMUS with TRA on EchoNet-Dynamic: clips of 8 frames from ED to ES, whose two ends are labelled.

Both ends are clicked; the frames between them are seen, and count in no loss and no measure.
Data: EchoNet-Dynamic. Weights: tools/download_weights.py sam_vit_b
Command: tools/dist_train.sh configs/samus_tra_echonet.py 8 --data-root PATH
"""

_base_ = "samus_tra.py"

_data = dict(
    _delete_=True,
    type="EchoNetDataset",
    data_root=None,
    split="files",
    clip_length=8,
    spread=True,
    image_size=(256, 256),
)
_testing = dict(test_mode=True, pipeline={{_base_.test_pipeline}}, **_data)
train_dataloader = dict(dataset=dict(subset="train", pipeline={{_base_.train_pipeline}}, **_data))
val_dataloader = dict(dataset=dict(subset="val", **_testing))
test_dataloader = dict(dataset=dict(subset="test", **_testing))

# One structure: no click has to say which it is for.
scales = dict(tiny=dict(model=dict(prompt_head=dict(num_structures=None))))
