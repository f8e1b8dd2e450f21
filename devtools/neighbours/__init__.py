"""What is tried beside other packs: the combinations, how they are run, and what is checked."""
