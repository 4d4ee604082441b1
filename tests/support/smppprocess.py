"""The message centre of the tests as a process of its own. Once it listens it prints ``listening on 127.0.0.1:PORT``.

    python -m tests.support.smpppeer --port 0 --record sent.jsonl --receipts tlv

--port N            0: any free one
--record FILE       every part taken, appended as one JSON object a line: id, to, from, text, esm_class, data_coding,
                    registered, part (reference, total, number, or null), wall, monotonic (when taken)
--receipts FORM     tlv, text, both or none: how the receipt of each part that asked for one is written
--states NAMES      the states reported for each part in this order, e.g. ``ENROUTE,DELIVRD``
--receipt-delay S   seconds between the answer to a part and its receipts
--receipts-first    receipts before the answer that names the part
--ids FORM          decimal, hex, padded (zeros in front), long: ids in answers
--receipt-ids FORM  the same for receipts; as --ids by default
--first-id N        the number of the first id
--latency S         seconds before each answer
--throttle-every N  every n-th part is throttled (0x58) instead of taken
--drop-after N      the connection is dropped after each n parts taken, the last unanswered
--no-id             answers carry no id
--system-id, --password   what binds (smsd, sesame)

Lines of JSON on its standard input tell it more while it runs: ``{"deliver": {"text": "MCKH H32-1", "source":
"84905123456", "destination": "9029"}}``, ``{"next": [88, {"answer": "none"}]}``, ``{"always": 0}``, ``{"bind": 13}``,
``{"drop": true}``, ``{"unbind": true}``. ``{"count": true}`` makes it print ``{"taken": N, "receipts": N,
"acknowledged": N, "connections": N}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from typing import Any

from tests.support.smpppdus import ID_FORMS, UNBIND, pdu
from tests.support.smpppeer import Reaction, SmppPeer


def main(arguments: list[str] | None = None) -> None:
    """Run until standard input ends or the process is told to stop."""
    options = _options().parse_args(arguments)
    peer = SmppPeer(
        port=options.port,
        system_id=options.system_id,
        password=options.password,
        receipts=options.receipts,
        states=tuple(options.states.split(",")),
        receipt_delay=options.receipt_delay,
        receipts_first=options.receipts_first,
        ids=options.ids,
        receipt_ids=options.receipt_ids,
        first_id=options.first_id,
        latency=options.latency,
        throttle_every=options.throttle_every,
        drop_after=options.drop_after,
        no_id=options.no_id,
        record=options.record,
    )
    with peer:
        print(f"listening on 127.0.0.1:{peer.port}", flush=True)
        for line in sys.stdin:
            if line.strip():
                _obey(peer, json.loads(line))
        threading.Event().wait()


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="smpppeer")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", default="")
    parser.add_argument("--receipts", choices=("tlv", "text", "both", "none"), default="none")
    parser.add_argument("--states", default="DELIVRD")
    parser.add_argument("--receipt-delay", type=float, default=0.0)
    parser.add_argument("--receipts-first", action="store_true")
    parser.add_argument("--ids", choices=ID_FORMS, default="decimal")
    parser.add_argument("--receipt-ids", choices=ID_FORMS, default="")
    parser.add_argument("--first-id", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--throttle-every", type=int, default=0)
    parser.add_argument("--drop-after", type=int, default=0)
    parser.add_argument("--no-id", action="store_true")
    parser.add_argument("--system-id", default="smsd")
    parser.add_argument("--password", default="sesame")
    return parser


def _obey(peer: SmppPeer, command: dict[str, Any]) -> None:
    def reaction(given: Any) -> Reaction | int:
        return Reaction(**given) if isinstance(given, dict) else int(given)

    if "deliver" in command:
        peer.deliver(**command["deliver"])
    if "next" in command:
        peer.next(*map(reaction, command["next"]))
    if "always" in command:
        peer.always(None if command["always"] is None else reaction(command["always"]))
    if "bind" in command:
        peer.bind = command["bind"]
    if command.get("drop"):
        peer.drop()
    if command.get("unbind"):
        peer.send(pdu(UNBIND, 0, 0x7000))
    if command.get("count"):
        counted = {
            "taken": len(peer.taken),
            "receipts": peer.receipts_sent,
            "acknowledged": len(peer.acknowledged),
            "connections": peer.connections,
        }
        print(json.dumps(counted), flush=True)
