"""What psycopg 3 does through the gateway. Prints one JSON object: the outcome of each check by its name.

Environment: CONNINFO, PGPASSWORD (the engineer's token), GATEWAY (HTTP address), APPROVER (the approver's token).
"""

import asyncio
import datetime
import decimal
import json
import os
import re
import threading
import time
import traceback
import urllib.request
import uuid

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

CONNINFO = os.environ["CONNINFO"]
checks = []


def check(function):
    checks.append(function)
    return function


def connect(more="", **options):
    return psycopg.connect(CONNINFO + more, autocommit=True, **options)


def state(error):
    return type(error).__name__ if error.sqlstate is None else error.sqlstate


def attempt(function):
    """The SQLSTATE of what it raises, or what it returns."""
    try:
        return function()
    except psycopg.Error as error:
        return state(error)


def decide(request, decision):
    headers = {"authorization": "Bearer " + os.environ["APPROVER"], "content-type": "application/json"}
    base = os.environ["GATEWAY"] + "/v1/requests/" + request
    shown = json.load(urllib.request.urlopen(urllib.request.Request(base, headers=headers)))
    body = json.dumps({"decision": decision, "reason": "looked at it", "digest": shown["digest"]}).encode()
    urllib.request.urlopen(urllib.request.Request(base + "/decision", data=body, headers=headers)).read()
    return shown["statement"]


def on_hold(conn, act):
    """Runs `act` with the request's name, in a thread, when the connection's notice tells of a hold."""
    def heard(diagnostic):
        if diagnostic.sqlstate == "SP001":
            threading.Thread(target=act, args=(re.search(r"areq-[a-z0-9]+", diagnostic.message_primary)[0],)).start()
    conn.add_notice_handler(heard)


@check
def versions():
    with connect() as conn:
        return {"libpq": psycopg.pq.version(), "tls": conn.pgconn.ssl_in_use, "server": conn.info.server_version >= 140000}


@check
def protocol_3_2_and_direct_tls():
    with connect(" max_protocol_version=latest sslnegotiation=direct") as conn:
        full = getattr(conn.pgconn, "full_protocol_version", None)
        return {"one": conn.execute("select 1").fetchone(), "protocol": full if not callable(full) else full()}


@check
def require_auth_password():
    with connect(" require_auth=password") as conn:
        return conn.execute("select 1").fetchone()


@check
def channel_binding_and_scram_are_refused_by_the_client():
    return [attempt(lambda: connect(option).close()) for option in (" channel_binding=require", " require_auth=scram-sha-256")]


@check
def parameters():
    values = [
        7, -(2**40), 2**70, 1.5, decimal.Decimal("12345678901234567890.0123"), True, "naïve 😀 \\ ' \"", "", b"\x00\xff\n", None, uuid.UUID(int=10), [1, None, 3],
        datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=datetime.timezone.utc), datetime.timedelta(days=3, seconds=4),
    ]
    with connect() as conn:
        wrong = []
        for binary in (False, True):
            for placeholder in ("%s", "%b", "%t"):
                for value in values:
                    try:
                        back = conn.execute(f"select {placeholder}", [value], binary=binary).fetchone()[0]
                    except NotImplementedError:
                        # psycopg has no binary form of it.
                        continue
                    if back != value:
                        wrong.append([repr(value), repr(back), placeholder, binary])
            if conn.execute("select %s::text[]", [["a,b", 'c"d', "{}"]], binary=binary).fetchone()[0] != ["a,b", 'c"d', "{}"]:
                wrong.append(["text[]", binary])
            if conn.execute("select %s", [Jsonb({"a": [1, None]})], binary=binary).fetchone()[0] != {"a": [1, None]}:
                wrong.append(["jsonb", binary])
        return wrong


@check
def prepared_statements():
    with connect(prepare_threshold=2) as conn:
        rows = [conn.execute("select %s::int + 1", [i]).fetchone()[0] for i in range(10)]
        forced = [conn.execute("select %s::text", [str(i)], prepare=True).fetchone()[0] for i in range(3)]
        names = conn.execute("select count(*) from pg_prepared_statements where not from_sql").fetchone()[0]
        conn.execute("deallocate all")
        # psycopg does not notice: the error must be the server's own.
        again = attempt(lambda: conn.execute("select %s::int + 1", [100]))
        return {"rows": rows, "forced": forced, "prepared": names, "again": again}


@check
def executemany_returns_rows():
    with connect() as conn, conn.cursor() as cur:
        cur.execute("create temp table many (id int, note text)")
        cur.executemany("insert into many values (%s, %s) returning id", [(i, str(i)) for i in range(100)], returning=True)
        ids = []
        while True:
            ids.append(cur.fetchone()[0])
            if not cur.nextset():
                break
        return [len(ids), ids[0], ids[99], conn.execute("select count(*) from many").fetchone()[0]]


@check
def pipeline_answers_in_order():
    with connect() as conn, conn.pipeline():
        cursors = [conn.execute("select %s::int", [i]) for i in range(300)]
        return [cursor.fetchone()[0] for cursor in cursors] == list(range(300))


@check
def error_in_a_pipeline():
    """Only what stands before the error in the same transaction is undone; what follows up to the sync is aborted."""
    with connect() as conn:
        conn.execute("create temp table kept (i int)")
        outcomes = []
        with conn.pipeline() as pipeline:
            conn.execute("insert into kept values (1)")
            pipeline.sync()
            conn.execute("insert into kept values (2)")
            conn.execute("select 1/0")
            conn.execute("insert into kept values (3)")
            outcomes.append(attempt(pipeline.sync))
            outcomes.append(attempt(lambda: conn.execute("insert into kept values (4)").rowcount))
        return outcomes + [row[0] for row in conn.execute("select i from kept order by i")]


@check
def denied_in_a_pipeline():
    with connect() as conn:
        conn.execute("create temp table kept (i int)")
        outcomes = []
        with conn.pipeline() as pipeline:
            conn.execute("insert into kept values (2)")
            conn.execute("delete from public.kept")
            conn.execute("insert into kept values (3)")
            outcomes.append(attempt(pipeline.sync))
            outcomes.append(attempt(lambda: conn.execute("insert into kept values (4)").rowcount))
        return outcomes + [row[0] for row in conn.execute("select i from kept order by i")]


@check
def server_side_cursors():
    with connect() as conn, conn.transaction():
        with conn.cursor(name="pages", scrollable=True) as cur:
            cur.itersize = 100
            cur.execute("select i, 'row ' || i from generate_series(1, 1050) i")
            first = [cur.fetchone(), cur.fetchmany(3)[-1]]
            cur.scroll(1000, mode="absolute")
            rest = [row[0] for row in cur]
        with conn.cursor(name="bin", binary=True) as cur:
            total = sum(row[0] for row in cur.execute("select i from generate_series(1, 1000) i"))
        return [first, rest[0], len(rest), total]


@check
def streams_rows_in_chunks():
    with connect() as conn, conn.cursor() as cur:
        single = sum(row[0] for row in cur.stream("select i from generate_series(1, 500) i"))
        chunked = sum(row[0] for row in cur.stream("select i from generate_series(1, 5000) i", size=100)) if psycopg.pq.version() >= 170000 else 12502500
        return [single, chunked]


@check
def copy_both_ways():
    rows = [(i, f'line one {i}\nline "two"\twith, comma \\ {i}') for i in range(20_000)]
    with connect() as conn, conn.cursor() as cur:
        cur.execute("create temp table loaded (id int, note text)")
        outcomes = []
        for how in ("", "(format csv)", "(format binary)"):
            cur.execute("truncate loaded")
            with cur.copy(sql.SQL("copy loaded from stdin {}").format(sql.SQL("(format binary)" if how == "(format binary)" else ""))) as copy:
                if how == "(format binary)":
                    copy.set_types(["int4", "text"])
                for row in rows:
                    copy.write_row(row)
            with cur.copy(f"copy (select * from loaded order by id) to stdout {how}") as copy:
                if how == "(format csv)":
                    outcomes.append(sum(len(part) for part in copy))
                else:
                    copy.set_types(["int4", "text"])
                    outcomes.append(list(copy.rows()) == rows)
        return outcomes


@check
def copy_given_up_and_copy_wrong():
    with connect() as conn, conn.cursor() as cur:
        cur.execute("create temp table loaded (id int, note text)")

        def given_up():
            with cur.copy("copy loaded from stdin") as copy:
                copy.write_row((1, "one"))
                raise KeyError("given up")

        def wrong():
            with cur.copy("copy loaded from stdin") as copy:
                for i in range(50_000):
                    copy.write(b"x\tone\n" if i == 20_000 else b"1\tone\n")

        try:
            given_up()
            outcome = "loaded"
        except KeyError:
            outcome = "given up"
        return [outcome, attempt(wrong), cur.execute("select count(*) from loaded").fetchone()[0]]


@check
def copy_out_cancelled():
    """libpq takes in what there is before the first row is seen: the server must not have more than that at hand."""
    with connect() as conn, conn.cursor() as cur:
        def left():
            with cur.copy("copy (select i, pg_sleep(0.01) from generate_series(1, 3000) i) to stdout") as copy:
                next(iter(copy))
                conn.cancel_safe(timeout=5)
                for _ in copy:
                    pass
        return [attempt(left), conn.execute("select 1").fetchone()[0]]


@check
def errors_in_transactions():
    with connect() as conn:
        conn.execute("create temp table kept (i int)")
        with conn.transaction():
            conn.execute("insert into kept values (1)")
            inner = attempt(lambda: savepoint(conn))
            conn.execute("insert into kept values (3)")

        def outer():
            with conn.transaction():
                conn.execute("insert into kept values (4)")
                attempt(lambda: conn.execute("select nope"))
                conn.execute("select 1")
        return [inner, attempt(outer), [row[0] for row in conn.execute("select i from kept order by i")]]


def savepoint(conn):
    with conn.transaction():
        conn.execute("insert into kept values (2)")
        conn.execute("select 1/0")


def cancelled(conn, how):
    said = []
    timer = threading.Timer(0.3, lambda: said.append(attempt(how)))
    timer.start()
    started = time.monotonic()
    outcome = attempt(lambda: conn.execute("select pg_sleep(%s)", [30]))
    timer.join()
    return [outcome, said[0], time.monotonic() - started < 10, conn.execute("select 1").fetchone()[0]]


@check
def cancel_safe_over_tls():
    with connect() as conn:
        return cancelled(conn, lambda: conn.cancel_safe(timeout=5))


@check
def cancel_with_a_key_of_32_bytes_over_direct_tls():
    with connect(" max_protocol_version=latest sslnegotiation=direct") as conn:
        return cancelled(conn, lambda: conn.cancel_safe(timeout=5))


@check
def cancel_in_plain_text():
    with connect() as conn:
        return cancelled(conn, conn.cancel)


@check
def cancel_in_a_pipeline():
    with connect() as conn:
        with conn.pipeline() as pipeline:
            threading.Timer(0.3, lambda: conn.cancel_safe(timeout=5)).start()
            conn.execute("select 1")
            conn.execute("select pg_sleep(30)")
            conn.execute("select 2")
            outcome = attempt(pipeline.sync)
        return [outcome, conn.execute("select 1").fetchone()[0]]


@check
def async_tasks_and_their_cancellation():
    async def run():
        async with await psycopg.AsyncConnection.connect(CONNINFO, autocommit=True) as conn:
            task = asyncio.create_task(conn.execute("select pg_sleep(30)"))
            await asyncio.sleep(0.3)
            task.cancel()
            try:
                await task
                outcome = "finished"
            except asyncio.CancelledError:
                outcome = "cancelled"
            return [outcome, (await (await conn.execute("select 1")).fetchone())[0]]
    return asyncio.run(run())


@check
def notifications():
    with connect() as conn, connect() as other:
        conn.execute("listen news")
        other.execute("notify news, 'heard'")
        return [f"{note.channel}:{note.payload}" for note in conn.notifies(timeout=5, stop_after=1)]


@check
def held_statement_approved():
    with connect() as conn:
        shown = []
        on_hold(conn, lambda request: shown.append(decide(request, "approve")))
        cursor = conn.execute("update held set note = %s where id = %s", ["psycopg", 1])
        return [cursor.rowcount, shown[0]["text"], shown[0]["parameters"], conn.execute("select note from held").fetchone()[0]]


@check
def held_statement_denied_and_cancelled():
    with connect() as conn:
        on_hold(conn, lambda request: decide(request, "deny"))
        denied = attempt(lambda: conn.execute("update held set note = %s", ["denied"]))
    with connect() as conn:
        on_hold(conn, lambda request: conn.cancel_safe(timeout=5))
        cancelled_ = attempt(lambda: conn.execute("update held set note = %s", ["cancelled"]))
        return [denied, cancelled_, conn.execute("select note from held").fetchone()[0]]


@check
def held_in_a_pipeline_runs_in_its_place():
    with connect() as conn:
        on_hold(conn, lambda request: decide(request, "approve"))
        with conn.pipeline():
            before = conn.execute("select note from held")
            changed = conn.execute("update held set note = %s", ["in its place"])
            after = conn.execute("select note from held")
            return [before.fetchone()[0], changed.rowcount, after.fetchone()[0]]


@check
def held_behind_an_error_in_a_pipeline_never_runs():
    with connect() as conn:
        on_hold(conn, lambda request: attempt(lambda: time.sleep(0.2)))
        outcomes = []
        with conn.pipeline() as pipeline:
            conn.execute("select 1/0")
            conn.execute("update held set note = %s", ["never"])
            outcomes.append(attempt(pipeline.sync))
        return outcomes + [conn.execute("select note from held").fetchone()[0]]


@check
def masked_columns_in_text_and_binary():
    with psycopg.connect(CONNINFO, autocommit=True, password=os.environ["ANALYST"]) as conn:
        rows = [conn.execute("select id, name, ssn from people where id = %s", [1], binary=binary).fetchone() for binary in (False, True)]
        with conn.transaction(), conn.cursor(name="pages") as cur:
            rows.append(cur.execute("select ssn from people order by id").fetchall())
        with conn.cursor().copy("copy people (id, ssn) to stdout") as copy:
            rows.append(list(copy.rows()))
        return rows


def main():
    outcomes = {}
    for function in checks:
        try:
            outcomes[function.__name__] = function()
        except Exception:
            outcomes[function.__name__] = {"raised": traceback.format_exc()[-1500:]}
    print(json.dumps(outcomes, default=str))


main()
