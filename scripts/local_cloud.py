"""The local cloud: MiniStack in this process, bound to 127.0.0.1, mended to do what Cronplane rests on.

    python scripts/local_cloud.py [--port 4566] [--api-port 8080] [--api-name NAME] [--state .local]

Until SIGTERM or SIGINT it serves AWS's APIs on --port (region us-east-1, account 000000000000,
credentials test/test) and the deployed HTTP API on --api-port. It needs a Docker API socket
(DOCKER_HOST, see scripts/container-runtime): tasks are real containers. Functions with the runtime
`provided.al2023` are processes of this machine: the package's `bootstrap`, with AWS_ENDPOINT_URL
pointing here; what they print is in their log group, `/aws/lambda/<function>`. With LOCAL_CLOUD_CALLS=<file>
in the environment, what they ask of AWS is written down (scripts/local_cloud/recording.py); LOCAL_CLOUD_QUOTAS
sets service quotas (scripts/local_cloud/quotas.py).

When it is ready `http://127.0.0.1:<port>/_ministack/health` answers, and <state>/local_cloud.ready
holds the port; <state>/local_cloud.pid holds the process id. Both files go when it ends, and so do its
containers and its functions.

What it mends is told where it is done, in scripts/local_cloud/; each mend has a conformance test in
tests/e2e/test_local_cloud.py. What cannot be tested here is said in those modules' first lines.
"""

import argparse
import asyncio
import os
import pathlib
import signal
import socket
import sys
import traceback


def parse_arguments():
    parser = argparse.ArgumentParser(description="The local cloud that Cronplane is tried out on.")
    parser.add_argument("--port", type=int, default=4566, help="AWS's APIs (default 4566)")
    parser.add_argument("--api-port", type=int, default=8080, help="the deployed API (default 8080)")
    parser.add_argument("--api-name", help="which HTTP API to forward to (default: the latest)")
    parser.add_argument("--state", type=pathlib.Path, default=pathlib.Path(".local"), help="pid and ready files")
    return parser.parse_args()


def configure(arguments):
    """Sets what MiniStack reads from the environment when it is imported, and its functions inherit."""
    state = arguments.state.resolve()
    (state / "tmp").mkdir(exist_ok=True)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]  # this machine's own profile or account is none of a function's
    os.environ.setdefault("MINISTACK_DOCKER_TIMEOUT", "60")
    os.environ.update({
        "GATEWAY_PORT": str(arguments.port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "localhost",
        "MINISTACK_REGION": "us-east-1",
        "MINISTACK_ACCOUNT_ID": "000000000000",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{arguments.port}",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "S3_DATA_DIR": str(state / "s3"),
        "TMPDIR": str(state / "tmp"),  # the functions' unpacked packages
        "LOCAL_CLOUD_NO_SPOT": str(state / "no-spot"),  # while there is such a file, Spot has no capacity
        "LOCAL_CLOUD_VOLUMES": str(state / "volumes"),  # the tasks' volumes and the EFS file systems
        "IOT_MTLS_ENABLED": "0",  # listeners on fixed ports that nothing here needs
        "SFTP_ENABLED": "0",
    })


def refuse_taken_ports(arguments):
    """Before anything is written: the files in --state may be those of the process that has the ports."""
    for port in (arguments.port, arguments.api_port):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError as error:
                raise SystemExit(f"local cloud: port {port} is taken ({error.strerror})") from error


def refuse_without_containers():
    import docker

    try:
        docker.from_env().ping()
    except Exception as error:
        raise SystemExit(f"local cloud: no Docker API answers ({error}); see scripts/container-runtime") from error


def refuse_image_mirrors():
    """MiniStack asks two other registries when a pull from Docker Hub fails; AWS does not. (This cannot be
    tested here: the build machines reach no registry.)"""
    from ministack.core import responses

    from local_cloud.mending import set_value

    set_value(responses, "install_docker_hub_fallback", lambda: None)


async def serve(arguments):
    from hypercorn.asyncio import serve as hypercorn
    from hypercorn.config import Config
    from ministack.app import app

    from local_cloud.api import forwarder
    from local_cloud.recording import recorded

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)

    def config(port):
        settings = Config()
        settings.bind = [f"127.0.0.1:{port}"]
        settings.graceful_timeout = 1
        settings.keep_alive_timeout = 75
        return settings

    ready = arguments.state / "local_cloud.ready"
    servers = [
        asyncio.create_task(hypercorn(recorded(app), config(arguments.port), shutdown_trigger=stop.wait)),
        asyncio.create_task(hypercorn(
            forwarder(arguments.port, arguments.api_name), config(arguments.api_port), shutdown_trigger=stop.wait)),
    ]
    marker = asyncio.create_task(announce(arguments, ready))
    try:
        await asyncio.wait(servers, return_when=asyncio.FIRST_COMPLETED)
        stop.set()  # a port that is taken ends the other server too
        await asyncio.gather(*servers)
    finally:
        marker.cancel()
        ready.unlink(missing_ok=True)


async def announce(arguments, ready):
    """Writes the ready file as soon as both ports take connections."""
    for port in (arguments.port, arguments.api_port):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.05)
    ready.write_text(f"{arguments.port}\n")
    print(f"local cloud: ready; AWS on http://127.0.0.1:{arguments.port}, "
          f"the API on http://127.0.0.1:{arguments.api_port}", flush=True)


def end_functions():
    """The functions' processes outlive MiniStack unless they are ended."""
    from ministack.core import lambda_runtime

    lambda_runtime.reset()


def main():
    arguments = parse_arguments()
    arguments.state.mkdir(parents=True, exist_ok=True)
    configure(arguments)
    from local_cloud.mending import check_version

    check_version()
    refuse_taken_ports(arguments)
    refuse_without_containers()
    refuse_image_mirrors()
    from local_cloud import (  # noqa: F401  (mends)
        containers,
        definitions,
        functions,
        quotas,
        rules,
        schedules,
        tasks,
        topics,
    )

    pid_file = arguments.state / "local_cloud.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    status = 1
    try:
        asyncio.run(serve(arguments))
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        end_functions()
        pid_file.unlink(missing_ok=True)
        sys.stdout.flush()
        os._exit(status)  # daemon threads that wait on a container must not hold the exit


if __name__ == "__main__":
    main()
