"""The deployable: manifest, contract, runtime; what loads one needs numpy, msgspec and onnxruntime alone."""
