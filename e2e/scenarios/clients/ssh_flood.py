"""Asks for one remote forward after another, each refused, until the connection ends; prints how many were answered."""
import json, os, sys
import paramiko

port, account, most = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
transport = paramiko.Transport(("127.0.0.1", port))
transport.connect(username=account, password=os.environ["SALLYPORT_TEST_TOKEN"])
answered = 0
for _ in range(most):
    transport.global_request("tcpip-forward", ("127.0.0.1", 0), wait=True)
    if not transport.is_active():
        break
    answered += 1
print(json.dumps(answered))
