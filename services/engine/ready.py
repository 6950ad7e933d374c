"""`python -m services.engine.ready`: exit status 0 where this machine's engine answers that it is ready, for a health check."""

import os
import sys

import grpc

TIMEOUT_S = 3.0
DIRECTLY = [("grpc.enable_http_proxy", 0)]
"""Docker may put a proxy into every container's environment."""
READY = b"\x08\x01"
"""`ServerReadyResponse` with its only field, `ready`, true."""


def main() -> int:
    """0 or 1; says why it is 1."""
    port = os.environ.get("ENGINE_GRPC_PORT") or "8001"
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=DIRECTLY) as channel:
        is_ready = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
        try:
            answer: bytes = is_ready(b"", timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            print(error)
            return 1
    return 0 if answer == READY else 1


if __name__ == "__main__":
    sys.exit(main())
