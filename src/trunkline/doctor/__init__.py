"""What of a set-up works, what does not, and what to do: a module for each thing that is looked at."""
