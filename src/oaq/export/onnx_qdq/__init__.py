"""ONNX in QDQ form: float operators between DequantizeLinear and QuantizeLinear, integers when a runtime fuses them."""
