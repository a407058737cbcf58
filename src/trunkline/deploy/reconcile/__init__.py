"""What every environment runs, brought in line with what the trunk declares."""
