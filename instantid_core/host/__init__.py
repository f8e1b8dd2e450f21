"""What touches ComfyUI: loading, encoding, and attaching an identity to what the user has."""
