"""Asks for every channel type and request of SSH, and for some that do not exist, over one connection; prints one JSON object: name -> what came of it."""
import json, os, sys, threading
import paramiko
from paramiko.message import Message
from paramiko.common import cMSG_CHANNEL_REQUEST

port, account = int(sys.argv[1]), sys.argv[2]
transport = paramiko.Transport(("127.0.0.1", port))
transport.connect(username=account, password=os.environ["SALLYPORT_TEST_TOKEN"])
results = {}

def channel(kind, **more):
    try:
        transport.open_channel(kind, timeout=5, **more).close()
        return "opened"
    except paramiko.ChannelException as refused:
        return "refused %d" % refused.code
    except Exception as failed:
        return "failed: " + type(failed).__name__

def request(name, *fields):
    """A request on a fresh session channel: `success` or `failure`."""
    session = transport.open_session(timeout=5)
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(session.remote_chanid)
    message.add_string(name)
    message.add_boolean(True)
    for field in fields:
        (message.add_int if isinstance(field, int) else message.add_string)(field)
    session._event_pending()
    transport._send_user_message(message)
    try:
        session._wait_for_event()
        answer = "success"
    except paramiko.SSHException:
        answer = "failure"
    except EOFError:
        answer = "closed"
    session.close()
    return answer

def started(start):
    """What a started channel says on standard error, and its exit status."""
    session = transport.open_session(timeout=5)
    session.settimeout(10)
    try:
        start(session)
        text = session.makefile_stderr("rb").read().decode()
        status = session.recv_exit_status()
    except paramiko.SSHException as failed:
        text, status = "refused", None
    session.close()
    code = text[text.find("[") + 1:text.find("]")] if "[" in text else text.strip()
    return "%s %s" % (status, code)

def global_request(name, *fields):
    return "success" if transport.global_request(name, fields or None, wait=True) else "failure"

results["exec"] = started(lambda s: s.exec_command("true"))
results["exec denied"] = started(lambda s: s.exec_command("shutdown now"))
results["shell"] = started(lambda s: s.invoke_shell())
results["subsystem invented"] = started(lambda s: s.invoke_subsystem("netconf"))
results["subsystem credential"] = started(lambda s: s.invoke_subsystem("credential@sallyport.dev"))
results["pty-req"] = request("pty-req", "xterm", 80, 24, 0, 0, "")
results["env LANG"] = request("env", "LANG", "C.UTF-8")
results["env PATH"] = request("env", "PATH", "/tmp")
results["window-change"] = request("window-change", 100, 40, 0, 0)
results["signal"] = request("signal", "INT")
results["auth-agent-req"] = request("auth-agent-req@openssh.com")
results["x11-req"] = request("x11-req", "", "MIT-MAGIC-COOKIE-1", "00", 0)
results["break"] = request("break", 500)
results["invented request"] = request("invented@example.com")
results["direct-tcpip"] = channel("direct-tcpip", dest_addr=("127.0.0.1", 22), src_addr=("127.0.0.1", 1))
results["x11"] = channel("x11", src_addr=("127.0.0.1", 1))
results["forwarded-tcpip"] = channel("forwarded-tcpip", dest_addr=("127.0.0.1", 22), src_addr=("127.0.0.1", 1))
results["auth-agent"] = channel("auth-agent@openssh.com")
results["tun"] = channel("tun@openssh.com")
results["invented channel"] = channel("invented@example.com")
results["tcpip-forward"] = global_request("tcpip-forward", "127.0.0.1", 0)
results["streamlocal-forward"] = global_request("streamlocal-forward@openssh.com", "/tmp/never")
results["invented global"] = global_request("invented@example.com")
results["keepalive"] = global_request("keepalive@openssh.com")
sessions = [transport.open_session(timeout=5) for _ in range(10)]
results["11th session"] = channel("session")
for session in sessions:
    session.close()
results["after all"] = started(lambda s: s.exec_command("true"))
print(json.dumps(results))
transport.close()
