"""A small drawn world on which the whole InstantID chain is really trained.

`world` draws people, `recogniser`, `detector` and `autoencoder` are the small networks around the
sampling, `chain` the tiny SDXL with adapter and IdentityNet as it is trained, `train` trains all
of them, `packed` keeps them in 8 bit, and `expand` writes them as the files ComfyUI loads.
"""
