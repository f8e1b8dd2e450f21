"""The socket types, once. Three keep the names other InstantID packs use, so that graphs link."""

from comfy_api.latest import io

FaceAnalysis = io.Custom("FACEANALYSIS")
Adapter = io.Custom("INSTANTID")
FaceEmbeds = io.Custom("FACE_EMBEDS")
FaceKeypoints = io.Custom("FACE_KEYPOINTS")
PoseKeypoint = io.Custom("POSE_KEYPOINT")  # ComfyUI's own nodes about poses have it, and others
FaceCrop = io.Custom("FACE_CROP")
FaceReferences = io.Custom("IID_FACE_REFERENCES")
People = io.Custom("IID_PEOPLE")
LayerWeights = io.Custom("IID_LAYER_WEIGHTS")
WeightCurve = io.Custom("IID_WEIGHT_CURVE")
FrameWeights = io.Custom("IID_FRAME_WEIGHTS")
