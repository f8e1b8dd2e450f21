"""What the trained chain must still reach.

These are the goals. Where training does not reach them, put what was reached minus two.
"""

LIMITS = {
    "right after the VAE": 19,
    "right with InstantID": 18,
    "right without InstantID": 4,
    "prompt with InstantID": 17,
    "face within 4 px": 17,
    "changed keypoints: tries": 4,
    "changed keypoints: within 4 px": 3,
    "two people: tries": 20,
    "two people: right": 18,
    "two people: within 4 px": 17,
    "region: nearer outside": 4,
}
