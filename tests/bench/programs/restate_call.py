"""Calls the handler once, whatever became of earlier calls, and waits for its end. usage: restate_call.py PORT"""

import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=600)
connection.request("POST", "/bench/run", headers={"idempotency-key": "bench"})
answer = connection.getresponse()
text = answer.read().decode()
if answer.status >= 300:
    sys.exit(f"{answer.status} {text}")
