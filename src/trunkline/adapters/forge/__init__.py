"""Forges: the pull requests, issues, comments and statuses of GitHub and GitLab."""
