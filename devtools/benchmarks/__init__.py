"""What the benchmarks are made of: models with random weights, paired timing, and the cases.

A ComfyUI tree must be on sys.path, and its arguments must be parsed, before `models` is imported.
"""
