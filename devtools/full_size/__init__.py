"""Full-size model files with random weights, and what measures a server that runs them."""
