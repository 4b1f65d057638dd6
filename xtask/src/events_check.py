"""Sends usage events by the official CloudEvents SDK, in every mode, twice, and asks what was charged.

Told by variables: EVENTS_ADDRESS (host:port of a purser) and EVENTS_KEY (one of its keys).
"""

import http.client
import json
import os
import uuid
from datetime import datetime, timezone

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.http import CloudEvent as OlderEvent
from cloudevents.v1.http import to_binary as older_binary
from cloudevents.v1.http import to_structured as older_structured

ADDRESS = os.environ["EVENTS_ADDRESS"]
KEY = os.environ["EVENTS_KEY"]
BATCH = "application/cloudevents-batch+json"
EACH = 20


def ask(method, path, headers, body):
    connection = http.client.HTTPConnection(ADDRESS, timeout=30)
    connection.request(method, path, body, {"Authorization": f"Bearer {KEY}", **headers})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(text)


def call(path, body):
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    status, _, answer = ask("POST", path, headers, json.dumps(body))
    assert status == 201, (status, answer)


def send(headers, body):
    return ask("POST", "/v1/usage_events", dict(headers), bytes(body))


def attributes(number, mode):
    return {
        # Headers must carry what does not fit into them, and the other modes must mean the same by it.
        "id": f"{mode} № {number} 100%",
        "source": "/sdk/crawler?of=\"tests\"",
        "type": "sdk_scan",
        "subject": "ann",
        "tenant": "acme",
        "specversion": "1.0",
        "time": datetime.now(timezone.utc),
        "datacontenttype": "application/json",
    }


def single(lay):
    """Each event alone, all of them twice; how many there were."""

    def sent():
        return [send(*lay(number)) for number in range(EACH)]

    first, second = sent(), sent()
    for (status, headers, answer), (status_again, headers_again, answer_again) in zip(first, second):
        assert (status, status_again) == (201, 201), (answer, answer_again)
        assert answer == answer_again, (answer, answer_again)
        assert headers["Idempotent-Replayed"] is None and headers_again["Idempotent-Replayed"] == "true"
    return EACH


def batch(events):
    """All of them in one request, twice."""
    body = b"[" + b",".join(events) + b"]"
    (status, _, first), (again, _, second) = send({"Content-Type": BATCH}, body), send({"content-type": BATCH}, body)
    assert (status, again) == (200, 200), (first, second)
    for one, other in zip(first["results"], second["results"], strict=True):
        assert (one["status"], one["replayed"], other["replayed"]) == (201, False, True), (one, other)
        assert one["debit"] == other["debit"]
    return len(events)


def main():
    call("/v1/actions", {"key": "sdk_scan", "name": "Scan", "price": {"model": "per_quantity", "rate": "2"}})
    give = {"tenant": "acme", "user": "ann", "amount": "1000", "kind": "promotional", "reason": "a check"}
    call("/v1/grants", give)
    data = {"quantity": 3, "metadata": {"by": "the SDK"}}

    def laid(to, number, mode):
        message = to(CloudEvent(attributes(number, mode), data))
        return message.headers, message.body

    def laid_by_older(to, number, mode):
        written = {**attributes(number, mode), "time": datetime.now(timezone.utc).isoformat()}
        # Its headers carry nothing but what fits into them.
        return to(OlderEvent({**written, "id": f"{mode}-{number}"}, data))

    charged = single(lambda number: laid(to_structured_event, number, "structured"))
    charged += single(lambda number: laid(to_binary_event, number, "binary"))
    charged += batch([bytes(laid(to_structured_event, number, "batch")[1]) for number in range(EACH)])
    charged += single(lambda number: laid_by_older(older_structured, number, "older structured"))
    charged += single(lambda number: laid_by_older(older_binary, number, "older-binary"))
    # The same events in the other modes are the same events.
    for number in range(EACH):
        _, headers, _ = send(*laid(to_binary_event, number, "structured"))
        assert headers["Idempotent-Replayed"] == "true", number
        _, headers, _ = send(*laid(to_structured_event, number, "binary"))
        assert headers["Idempotent-Replayed"] == "true", number
    _, _, balance = ask("GET", "/v1/balance?tenant=acme&user=ann", {}, None)
    available = balance["wallets"][0]["balance"]["available"]
    assert available == str(1000 - 6 * charged), (available, charged)
    print(f"{charged} events, each sent at least twice: charged once")


main()
