"""Write the StableHLO of a JAX program as an ONNX graph."""
