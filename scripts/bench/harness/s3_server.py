"""An S3 server that fails on demand: `python -m harness.s3_server PORT MODE_FILE SEED`.

The file contains `fine`, `half` (half of the requests, drawn with the seed, get an internal error) or `down`.
"""

import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>on purpose</Message></Error>"


def main() -> None:
    port, mode, seed = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    draw = random.Random(seed)
    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        fails = {"half": 0.5, "down": 1.0}.get(mode.read_text(), 0.0)
        if draw.random() < fails:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
            return [ERROR]
        answer: Iterable[bytes] = moto(environ, start_response)
        return answer

    run_simple("127.0.0.1", port, application, threaded=True)


if __name__ == "__main__":
    main()
