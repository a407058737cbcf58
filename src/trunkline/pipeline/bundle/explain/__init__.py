"""What the model leans on."""
