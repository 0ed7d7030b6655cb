"""The engine: pure torch, arrays only, the device an argument."""
