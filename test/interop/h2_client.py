"""A TrustTunnel client on Debian's python3-h2: one scenario per run, told as JSON on standard output.

Usage: h2_client.py PORT AUTHORIZATION SCENARIO [AUTHORITY]
"""

import hashlib
import json
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

ECHO_BYTES = 3_000_000
READ_BYTES = 65_536


class Client:
    def __init__(self, port, authorization):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", port))
        self.socket = context.wrap_socket(raw, server_hostname="vpn.endpoint")
        assert self.socket.selected_alpn_protocol() == "h2"
        # Validation of h2 4.1 asks for :path, which a CONNECT has not (RFC 9113 section 8.5).
        config = h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config=config)
        self.authorization = authorization
        self.h2.initiate_connection()
        self.send()
        self.wait(lambda event: isinstance(event, h2.events.RemoteSettingsChanged))

    def send(self):
        self.socket.sendall(self.h2.data_to_send())

    def read(self):
        """The events of one read; content is acknowledged."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise EOFError("the endpoint has closed the connection")
        events = self.h2.receive_data(data)
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length > 0:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.send()
        return events

    def wait(self, matches):
        while True:
            for event in self.read():
                if matches(event):
                    return event

    def connect(self, authority):
        stream = self.h2.get_next_available_stream_id()
        headers = [
            (":method", "CONNECT"),
            (":authority", authority),
            ("user-agent", "Linux python"),
            ("proxy-authorization", self.authorization),
        ]
        self.h2.send_headers(stream, headers)
        self.send()
        answer = self.wait(lambda event: isinstance(event, h2.events.ResponseReceived))
        return stream, answer


def status_of(answer):
    fields = [[part.decode() if isinstance(part, bytes) else part for part in field] for field in answer.headers]
    return dict(fields)[":status"]


def settings(client, _authority):
    codes = h2.settings.SettingCodes
    # The window of the connection is announced behind the SETTINGS.
    while client.h2.outbound_flow_control_window == 65_535:
        client.read()
    remote = client.h2.remote_settings
    return {
        "initialWindowSize": remote.get(codes.INITIAL_WINDOW_SIZE),
        "maxConcurrentStreams": remote.get(codes.MAX_CONCURRENT_STREAMS),
        "maxHeaderListSize": remote.get(codes.MAX_HEADER_LIST_SIZE),
        "enableConnectProtocol": remote.get(codes.ENABLE_CONNECT_PROTOCOL) or 0,
        "connectionWindow": client.h2.outbound_flow_control_window,
    }


def check(client, authority):
    _stream, answer = client.connect(authority)
    return {
        "status": status_of(answer),
        "endStream": answer.stream_ended is not None,
    }


def echo(client, authority):
    """Sends as much as the windows allow, no more: h2 itself raises when they are exceeded."""
    stream, _answer = client.connect(authority)
    content = bytes(index * 7 % 251 for index in range(ECHO_BYTES))
    received = hashlib.sha1()
    count = sent = 0
    ended = False
    while not ended:
        window = client.h2.local_flow_control_window(stream)
        while sent < ECHO_BYTES and window > 0:
            size = min(window, client.h2.max_outbound_frame_size, ECHO_BYTES - sent)
            end = sent + size == ECHO_BYTES
            client.h2.send_data(stream, content[sent : sent + size], end_stream=end)
            sent += size
            window -= size
        client.send()
        for event in client.read():
            if isinstance(event, h2.events.DataReceived):
                received.update(event.data)
                count += len(event.data)
            if isinstance(event, h2.events.StreamReset):
                raise RuntimeError(f"reset with {event.error_code}")
            ended = ended or isinstance(event, h2.events.StreamEnded)
    return {"bytes": count, "whole": received.digest() == hashlib.sha1(content).digest()}


def reset(code):
    def scenario(client, authority):
        """Without END_STREAM; the session stays, so nothing but the reset can end the tunnel."""
        stream, _answer = client.connect(authority)
        client.h2.send_data(stream, b"hello")
        client.send()
        client.wait(lambda event: isinstance(event, h2.events.DataReceived))
        client.h2.reset_stream(stream, error_code=code)
        client.send()
        # Until the test has seen what it waits for.
        sys.stdin.read()
        _stream, answer = client.connect("_check")
        return {"alive": status_of(answer) == "200"}

    return scenario


SCENARIOS = {
    "settings": settings,
    "check": check,
    "echo": echo,
    "cancel": reset(h2.errors.ErrorCodes.CANCEL),
    "no-error": reset(h2.errors.ErrorCodes.NO_ERROR),
}


def main():
    port, authorization, scenario = sys.argv[1:4]
    authority = sys.argv[4] if len(sys.argv) > 4 else ""
    client = Client(int(port), authorization)
    print(json.dumps(SCENARIOS[scenario](client, authority)))
    client.socket.close()


main()
