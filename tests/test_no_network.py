import socket

import pytest


def test_a_connection_to_another_machine_is_refused() -> None:
    with socket.socket() as client, pytest.raises(RuntimeError, match=r"network \(192\.0\.2\.1\)"):
        client.connect(("192.0.2.1", 80))


def test_a_name_look_up_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"network \(example\.org\)"):
        socket.create_connection(("example.org", 80), timeout=1)


def test_a_connection_on_this_machine_works() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=1) as client,
    ):
        client.sendall(b"hello")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(5) == b"hello"
