"""What conf/monitoring means to Prometheus, Alertmanager and Grafana: the text of their files, and no effects."""
