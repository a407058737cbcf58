"""The log of every prediction: what a server hands to a process of its own, and the segments that it writes."""
