import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { connectDirect, eventually } from '../hosts/clients.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { answer, nextRequest } from '../hosts/people.ts';
import { policyFile, putConfig, usualStatements } from '../hosts/policy-files.ts';
import { freePort } from '../hosts/postgres.ts';
import { refusedLogin, watchedSession } from '../hosts/session-watch.ts';
import { openRaw } from '../leaks/raw-client.ts';

const policies = policyFile({
  rules: [
    { name: 'usual', action: 'Allow', postgres: { statements: usualStatements.filter((name) => name !== 'Delete') } },
    { name: 'deletes', action: 'RequireApproval', postgres: { statements: ['Delete'] }, approval: { groups: ['dba'], decideWithin: '10m' } },
    { name: 'no-truncate', action: 'Deny', postgres: { statements: ['Truncate'] } },
  ],
  masking: [{ columns: ['public.people.ssn'], style: 'Redact' }], limits: { rowsPerStatement: 3 },
});
let world: World;

beforeAll(async () => {
  world = await startWorld({
    policies,
    prepare: async (postgres) => {
      const client = await connectDirect(postgres);
      await client.query("create table people (id int, ssn text); insert into people values (1, '536-22-7841'), (2, '602-31-4492'); create table many as select generate_series(1, 9)");
      await client.end();
    },
  });
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

const get = async (path: string): Promise<string> => {
  const response = await fetch(`${world.gateway.httpUrl}${path}`);
  return `${response.status} ${await response.text()}`;
};

/** Our series above zero, without those of Node. */
async function counted(): Promise<Readonly<Record<string, number>>> {
  const lines = (await get('/metrics')).matchAll(/^(sallyport_\S+) (\d+)$/gm);
  return Object.fromEntries([...lines].map((match) => [match[1] ?? '', Number(match[2])] as const).filter(([, value]) => value > 0));
}

test('every statement, refusal, hold, masked cell and session is counted once', async () => {
  const [engineer, approver] = await Promise.all([world.token('engineer'), world.token('approver')]);
  const before = await counted();
  const session = await watchedSession(world, engineer);
  const known = new Set<string>();
  for (const text of ['select 1', 'select id, ssn from people', 'truncate people', 'selec 1', 'select * from many']) await session.run(text);
  const held = session.run('delete from people where id = 99');
  const request = await nextRequest(world, approver, known);
  expect(await counted()).toMatchObject({ sallyport_sessions: 1, sallyport_holds_pending: 1, 'sallyport_statements_total{decision="held"}': 1 });
  await answer(world, approver, request, 'approve');
  await held;
  const denied = session.run('delete from people where id = 98');
  await answer(world, approver, await nextRequest(world, approver, known), 'deny');
  await denied;
  await session.client.end();
  const { client } = await openRaw({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: engineer });
  await client.query('copy people to stdout');
  await client.exchange(Buffer.concat([write.parse('', 'select ssn from people'), write.bind('', ''), write.execute(''), write.bind('', ''), write.execute(''), write.sync()]));
  await client.close();
  await refusedLogin(world, 'no token');
  await eventually('the sessions are closed', async () => (await counted())['sallyport_sessions'] === undefined);
  expect(before).toEqual({});
  expect(await counted()).toEqual({
    'sallyport_connections_total{outcome="accepted"}': 3, 'sallyport_sessions_total{protocol="postgres",outcome="opened"}': 2, 'sallyport_sessions_total{protocol="postgres",outcome="denied"}': 1,
    'sallyport_session_ends_total{reason="ClientClosed"}': 2,
    'sallyport_statements_total{decision="allowed"}': 6, 'sallyport_statements_total{decision="approved"}': 1, 'sallyport_statements_total{decision="held"}': 2, 'sallyport_statements_total{decision="denied"}': 3,
    'sallyport_masked_cells_total{protocol="postgres"}': 8, 'sallyport_parse_failures_total{code="SYNTAX_ERROR"}': 1,
    'sallyport_denials_total{code="STATEMENT_DENIED"}': 1, 'sallyport_denials_total{code="SYNTAX_ERROR"}': 1, 'sallyport_denials_total{code="APPROVAL_DENIED"}': 1, 'sallyport_denials_total{code="ROW_LIMIT_REACHED"}': 1,
    'sallyport_denials_total{code="TOKEN_MALFORMED"}': 1,
  });
});

test('a Target whose port is taken: the others are served, readiness says it, and the port is opened once it is free', async () => {
  expect(await get('/readyz')).toBe('200 ok\n');
  const port = await freePort();
  const squatter: Server = createServer();
  await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve));
  await putConfig(world, 'second.yaml', `{apiVersion: sallyport.dev/v1alpha1, kind: Target, metadata: {name: second, annotations: {sallyport.dev/listen-port: "${port}"}}, spec: {postgres: {host: 127.0.0.1, port: ${world.postgres.port}, tls: {mode: VerifyFull, caSecretRef: {name: ca, key: ca.crt}}, credentials: {secretRef: {name: db-account}}, databases: [postgres]}}}`);
  await eventually('readiness says it', async () => (await get('/readyz')) === '503 not ready: PORT_NOT_OPEN\n');
  expect([await get('/healthz'), await refusedLogin(world, await world.token('engineer'))]).toEqual(['200 ok\n', null]);
  await new Promise((resolve) => squatter.close(resolve));
  await eventually('the port is open', async () => (await get('/readyz')) === '200 ok\n');
  expect(await refusedLogin({ ...world, port }, await world.token('engineer'))).toMatchObject({ code: '42501' });
});
