"""The engines that score a batch: onnxruntime, and its trees in numpy."""
