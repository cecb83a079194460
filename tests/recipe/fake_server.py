"""A server of a toy model, for tests: says its level to every prompt. Starts a worker in a session of its own."""

import argparse
import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WORKER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--port", type=int)
    parser.add_argument("--pids", type=Path)
    parser.add_argument("--key", default="")
    parser.add_argument("--how", default="serve", choices=["serve", "fail", "hang"])
    given = parser.parse_args()
    worker = subprocess.Popen([sys.executable, "-c", WORKER], start_new_session=True)
    with open(given.pids, "a") as file:
        file.write(f"{worker.pid}\n")
    if given.how == "fail":
        print(f"loading with {given.key}")
        sys.exit("out of memory")
    if given.how == "hang":
        time.sleep(300)
    level = Path(given.model, "level")
    text = level.read_text() if level.exists() else "0"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.say({"data": [{"id": "toy"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert asked["model"] == "toy"
            usage = {"prompt_tokens": 1, "completion_tokens": 1}
            choice = {"index": 0, "text": f"level {text}", "finish_reason": "stop"}
            self.say({"choices": [choice], "usage": usage})

        def say(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
