"""The runtime of a Python function as a program of its own, which pulls its calls from the Runtime API: AWS's runtime interface client.

    python -SB awsprogram.py CLIENT OPT      the folder in which `awslambdaric` is; the layers

It stands in for the zygote's fork (`awslambda`) where extensions or a wrapper script stand beside the runtime. The client's own
transport is compiled for one version of Python; another version pulls by `http.client`.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


def main() -> None:
    """Run the function that the environment describes. Never returns."""
    client, opt = sys.argv[1:3]
    root = os.environ["LAMBDA_TASK_ROOT"]
    version = "python%d.%d" % sys.version_info[:2]
    own = sys.path.pop(0)
    assert own == os.path.dirname(os.path.abspath(__file__)), "or user code would find our modules"
    sys.path[:0] = [root, "%s/python/lib/%s/site-packages" % (opt, version), opt + "/python"]
    if client not in sys.path:
        sys.path.append(client)
    from awslambdaric import bootstrap, lambda_runtime_client

    made = lambda_runtime_client.LambdaRuntimeClient if lambda_runtime_client.runtime_client else plain()
    bootstrap.run(os.environ["_HANDLER"], made(os.environ["AWS_LAMBDA_RUNTIME_API"]))


def plain() -> "Any":
    """A runtime client on `http.client`."""
    import http.client

    from awslambdaric import lambda_runtime_client as base

    class PlainClient(base.LambdaRuntimeClient):  # type: ignore[misc]
        _conn: "Optional[http.client.HTTPConnection]" = None

        def _ask(self, method: str, path: str, body: "Optional[bytes]", headers: "dict[str, str]") -> "Any":
            self._conn = self._conn or http.client.HTTPConnection(self.lambda_runtime_address)
            self._conn.request(method, "/2018-06-01/runtime/invocation/" + path, body, headers)
            response = self._conn.getresponse()
            return response, response.read()

        def wait_next_invocation(self) -> "Any":
            response, body = self._ask("GET", "next", None, {})
            told = response.headers
            return base.InvocationRequest(
                invoke_id=told["Lambda-Runtime-Aws-Request-Id"],
                x_amzn_trace_id=told["Lambda-Runtime-Trace-Id"],
                invoked_function_arn=told["Lambda-Runtime-Invoked-Function-Arn"],
                deadline_time_in_ms=told["Lambda-Runtime-Deadline-Ms"],
                client_context=told["Lambda-Runtime-Client-Context"],
                cognito_identity=told["Lambda-Runtime-Cognito-Identity"],
                tenant_id=told["Lambda-Runtime-Aws-Tenant-Id"],
                content_type=told["Content-Type"],
                event_body=body,
                invocation_id=None,
            )

        def post_invocation_result(
            self, invoke_id: str, result_data: "Any", content_type: str = "application/json", invocation_id: "Any" = None
        ) -> None:
            data = result_data if isinstance(result_data, bytes) else result_data.encode("utf-8")
            self._ask("POST", invoke_id + "/response", data, {"Content-Type": content_type})

        def post_invocation_error(
            self, invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: "Any" = None
        ) -> None:
            self._ask("POST", invoke_id + "/error", error_response_data.encode("utf-8"), {"Content-Type": "application/json"})

    return PlainClient


if __name__ == "__main__":
    main()
