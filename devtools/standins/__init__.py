"""Stand-in models, made by make_standins.py: right names and shapes, meaningless weights."""
