"""Random valid ONNX graphs, computed by ONNX Runtime and by oaq: every difference has a rule, or is a defect."""
