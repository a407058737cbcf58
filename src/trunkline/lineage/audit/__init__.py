"""Whether what an environment ran came through the trunk's rules."""
