"""The deployed API on a port of its own: API Gateway's URL has no path, and so has this one.

Not modelled, and so not tested here: API Gateway's limits (10 MB, 30 s, throttling).
"""

import json

from ministack.app import app as ministack
from ministack.services import apigateway

from .mending import mend

NOT_YET = json.dumps({
    "type": "about:blank",
    "title": "Service Unavailable",
    "status": 503,
    "detail": "No HTTP API is deployed to the local cloud yet.",
}).encode()


def _find_api(name):
    """The id of the latest HTTP API, or of the latest with this name."""
    apis = [
        api for api in apigateway._apis.all_values()
        if api["protocolType"] == "HTTP" and name in (None, api["name"])
    ]
    return apis[-1]["apiId"] if apis else None


def forwarder(gateway_port, api_name=None):
    """An ASGI application that hands each request to the API unchanged but for its Host."""

    async def forward(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        api_id = _find_api(api_name)
        if scope["type"] != "http" or api_id is None:
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(NOT_YET)).encode())]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": NOT_YET})
            return
        host = f"{api_id}.execute-api.localhost:{gateway_port}".encode()
        headers = [(b"host", host)] + [header for header in scope["headers"] if header[0].lower() != b"host"]
        await ministack({**scope, "headers": headers}, receive, send)

    return forward


def _lower_first(settings):
    return {key[:1].lower() + key[1:]: value for key, value in settings.items()}


@mend(apigateway, "_cors_preflight_response")
def preflight_knows_the_template(original, settings, origin):
    """CloudFormation hands MiniStack an API's CORS settings in the template's spelling (AllowOrigins), and
    it looks for the API's (allowOrigins): every origin is denied."""
    return original(_lower_first(settings), origin)


@mend(apigateway, "_cors_response_headers")
def answers_know_the_template(original, settings, origin):
    return original(_lower_first(settings), origin)
