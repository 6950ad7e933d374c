"""The engine: a Triton model whose one contract is *run this step*, and the executors behind it."""
