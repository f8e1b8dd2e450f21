"""What the benchmarks are made of; ComfyUI's arguments must be parsed before they are imported."""
