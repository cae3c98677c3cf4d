"""Float32 operators of ONNX on NumPy arrays, for float regions where ONNX Runtime is not installed."""
