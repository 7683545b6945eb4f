"""Opens many connections at once with asyncssh, each runs a command with input and output; prints how many came out right, and what went wrong."""
import asyncio, json, os, sys
import asyncssh

port, account, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

async def one(number):
    async with asyncssh.connect("127.0.0.1", port, username=account, password=os.environ["SALLYPORT_TEST_TOKEN"], known_hosts=None, client_keys=None, agent_path=None, config=None, connect_timeout=50, login_timeout=50) as connection:
        text = "%d " % number * 2000
        results = await asyncio.gather(connection.run("cat", input=text), connection.run("echo %d; false" % number))
        if results[0].stdout != text: raise AssertionError("cat gave %d characters" % len(results[0].stdout))
        if (results[1].stdout, results[1].exit_status) != ("%d\n" % number, 1): raise AssertionError("echo gave %r" % (results[1].stdout,))

async def main():
    outcomes = await asyncio.gather(*(one(number) for number in range(count)), return_exceptions=True)
    failures = [repr(outcome) for outcome in outcomes if outcome is not None]
    print(json.dumps({"right": count - len(failures), "failures": failures[:3]}))

asyncio.run(main())
