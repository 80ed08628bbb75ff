"""Rewriting an ONNX graph in operators that engines have fast code for. It knows nothing of detectors."""
