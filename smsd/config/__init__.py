"""What an operator writes in YAML, read without forgiveness, and what it means to the core."""
