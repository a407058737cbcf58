"""The verdict of a rollout: two versions compared by what the log of predictions says of them, as it grows."""
