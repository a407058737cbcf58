"""What other clients speak: MLflow's scoring protocol and the Open Inference Protocol, on the same checks."""
