"""What is in production, whether it is well, and what changed, as a page: for those without Grafana."""
