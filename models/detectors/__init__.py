"""Photo in, key-points out: the detectors a worker may have, behind one protocol. Only pose detection, never drawing.

Two libraries are understood, each only where its weights are: rtmlib's whole-body models (Apache-2.0; wanted first,
for hands and faces come with every person) and controlnet-aux's OpenPose (non-commercial). Nothing is downloaded, and
nothing heavy is imported before the first photo. A third one is built in, for the mannequins that the built-in model
draws: `models.mannequin.detector`.

    weights    which files, where from, and where they were found; pure data, so that the API may tell what to fetch
    people     what a detector answers, and the protocol
    wholebody  COCO-WholeBody's 133 points as OpenPose's parts; arithmetic only
    rtm        rtmlib: a person detector and a whole-body model, in ONNX
    openpose   controlnet-aux: OpenPose's networks for bodies, hands and faces, in torch
    opening    from weights that were found to a detector that is loaded
"""
