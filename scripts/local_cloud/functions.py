"""Lambda: a function's process starts with what AWS gives it.

Not modelled, and so not tested here: the two retries of an asynchronous invocation, the freeze between
invocations, the answer's limit of 6 MB, and what the function's role may do (tests/e2e/test_permissions.py holds that against what it does here).
"""

from ministack.services import lambda_svc

from . import recording
from .mending import mend


@mend(lambda_svc, "_provided_worker_env")
def no_empty_session_token(original, config, code_dir, port):
    """MiniStack sets AWS_SESSION_TOKEN to nothing, which an SDK may take for a token."""
    environment = original(config, code_dir, port)
    if not environment.get("AWS_SESSION_TOKEN"):
        environment.pop("AWS_SESSION_TOKEN", None)
    recording.name_caller(environment, config["FunctionName"])
    return environment
