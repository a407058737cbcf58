"""What a pull request shows: comment, page, attribution, history."""
