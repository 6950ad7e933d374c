"""The contracts between services: messages, keys, tensors, SLO arithmetic. No behaviour one service could own."""
