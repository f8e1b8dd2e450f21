"""Stand-in models, made on the spot: right file names, right shapes, meaningless weights.

`drawing` draws faces at exactly known places, `faces` makes antelopev2's detector and recogniser,
which find and tell apart the drawn faces; `sdxl` makes a tiny checkpoint, IdentityNet, a depth
ControlNet and a LoRA, tiny_adapter.py an ip-adapter. devtools/make_standins.py makes them all.
"""
