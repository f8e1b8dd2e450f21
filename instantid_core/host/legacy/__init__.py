"""What the node ids of the old InstantID pack do, for workflows made with them.

    ApplyInstantID, ApplyInstantIDAdvanced   old_pack.apply_old_pack
    InstantIDAttentionPatch                  old_pack.patch_old_attention
    ApplyInstantIDControlNet                 old_pack.apply_old_controlnet
    FaceKeypointsPreprocessor                old_pack.draw_found_keypoints
    InstantIDModelLoader                     as this pack's own loader
    InstantIDFaceAnalysis                    as this pack's own loader

Nothing else uses this folder.
"""
