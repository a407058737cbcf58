"""Forges: the pull requests, comments and statuses of GitHub and GitLab."""
