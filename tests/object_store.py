"""An S3 server for tests, on loopback."""

import contextlib
import logging
import urllib.request
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

BUCKET = "checkpoints"


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Serve S3 with one empty bucket, and lead this process and its children there; yields the address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    environment = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        S3FileSystem.clear_instance_cache()  # those of a process stay where they first connected
        try:
            urllib.request.urlopen(f"{address}/moto-api/reset", data=b"").close()  # what is left of another
            S3FileSystem().mkdir(BUCKET)
            yield address
        finally:
            S3FileSystem.clear_instance_cache()
            server.stop()
