import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { missingForNode } from '../../e2e/cluster/hosts/node.ts';
import { eventually, type LiveProgram, type Ran } from '../../e2e/hosts/clients.ts';
import { currentCluster, currentContext } from './current-cluster.ts';
import { databaseYaml } from './database.ts';
import { ownNode } from './own-node.ts';
import { sshHost } from './ssh-host.ts';
import type { Person, Place } from './place.ts';

// The main job on a real cluster: install, describe, connect, hold, approve, revoke. `make demo-cluster`; each step is checked, exit status 1 when one goes wrong.
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const cli = file('../../cli/main.ts');
const chart = file('../../helm/sallyport');
const startedMs = performance.now();
const passwords = { superuser: randomBytes(12).toString('hex'), gateway: randomBytes(12).toString('hex') };
let failures = 0;
/** From here on there is something of the demo in the cluster. Before, everything in it is somebody else's. */
let begun = false;

const place = await choosePlace();
if (place === null) process.exit(2);
try {
  await story(place);
} catch (error) {
  failures++;
  say(`  ✗ ${error instanceof Error ? error.message : String(error)}`);
}
say(failures === 0 ? `\nAll steps went as they should (${seconds()}).` : `\n${failures} step(s) did not go as they should (${seconds()}).`);
if (process.argv.includes('--keep')) await keep();
await cleanUp(place);
process.exit(failures === 0 ? 0 : 1);

/** The current kubeconfig's cluster when there is one and the user agrees; else a node of our own where this machine can run one. */
async function choosePlace(): Promise<Place | null> {
  const context = currentContext();
  if (context !== null && (await agrees(context))) {
    const image = process.env['IMAGE'];
    if (image === undefined) return refuse(['your cluster\'s nodes have to pull Sallyport\'s image: `make image`, push it to your registry, and say IMAGE=registry.example/sallyport:TAG']);
    return currentCluster(context, image);
  }
  const missing = missingForNode();
  if (missing.length > 0) return refuse(['no cluster to use: the current kubeconfig names none that you agreed to, and this machine cannot run a node of our own. It lacks', ...missing.map((line) => `  ${line}`)]);
  say('Starting a one-node Kubernetes on this machine (its programs are built once, from Go modules, which takes about 5 minutes) …');
  return ownNode(say);
}

async function agrees(context: string): Promise<boolean> {
  if (process.env['YES'] === '1') return true;
  if (!process.stdin.isTTY) {
    say(`The kubeconfig's context is ${context}. It is left alone: nobody is here to agree; YES=1 agrees.`);
    return false;
  }
  const ask = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await ask.question(`The kubeconfig's context is ${context}. Install Sallyport and a namespace "payments" there, and remove both at the end? [y/N] `);
  ask.close();
  return /^y(?:es)?$/i.test(answer.trim());
}

function refuse(lines: readonly string[]): null {
  for (const line of lines) process.stderr.write(`${line}\n`);
  return null;
}

async function story(at: Place): Promise<void> {
  say(`Ready after ${seconds()}: ${at.name}.`);
  for (const [kind, name] of [['namespace', 'payments'], ['namespace', 'sallyport-system'], ['crd', 'targets.sallyport.dev']] as const) {
    if ((await at.run('kubectl', ['get', kind, name])).code === 0) throw new Error(`there is a ${kind} ${name} already: the demo would mix with it, and remove it at its end`);
  }
  begun = true;

  step('The platform team installs Sallyport with Helm, and says whose tokens count');
  await kubectlLike('helm', ['install', 'sallyport', chart, '--namespace', 'sallyport-system', '--create-namespace', '--set', `image.repository=${at.image.repository}`, '--set', `image.tag=${at.image.tag}`], { quiet: true, shown: 'helm install sallyport helm/sallyport --namespace sallyport-system --create-namespace' });
  await kubectl(['rollout', 'status', 'deployment/sallyport-operator', '-n', 'sallyport-system', '--timeout=180s'], { quiet: true });
  await kubectl(['apply', '-f', '-'], { input: await at.identityProvider(), shown: 'kubectl apply -f identity-provider.yaml' });
  await kubectl(['wait', '--for=condition=Ready', 'identityprovider/company', '--timeout=60s']);

  step('A team has a database in its namespace; its password stands in a Secret that no person needs');
  await kubectl(['apply', '-f', '-'], { input: await databaseYaml(at.database, passwords), quiet: true, shown: 'kubectl apply -f database.yaml' });
  await kubectl(['wait', '--for=condition=Ready', 'pod/orders', 'pod/client', '-n', 'payments', '--timeout=180s']);
  await fillDatabase(at);

  step('The team describes it and who may use it: one Target, one AccessPolicy');
  await kubectl(['apply', '-f', '-'], { input: readFileSync(file('target.yaml'), 'utf8'), shown: 'kubectl apply -f target.yaml' });
  await kubectl(['apply', '-f', '-'], { input: readFileSync(file('policy.yaml'), 'utf8'), shown: 'kubectl apply -f policy.yaml' });
  await kubectl(['wait', '--for=condition=Ready', 'target/orders-db', 'accesspolicy/oncall', '-n', 'payments', '--timeout=120s']);
  await kubectl(['rollout', 'status', 'deployment/sallyport-proxy', '-n', 'payments', '--timeout=120s'], { quiet: true });
  await eventually('both proxies run it', async () => / 2\/2 /.test((await at.run('kubectl', ['get', 'tgt', '-n', 'payments'])).out), 30_000);
  await kubectl(['get', 'tgt,apol', '-n', 'payments'], {}, (text) => /orders-db +orders-db\.payments:5432 +True +2\/2/.test(text) && /oncall +Standing +1 +True/.test(text));
  const ca = (await at.run('kubectl', ['get', 'configmap', 'sallyport-ca', '-n', 'payments', '-o', 'jsonpath={.data.ca\\.crt}'])).out;
  await at.run('kubectl', ['exec', '-i', '-n', 'payments', 'client', '--', 'sh', '-c', 'cat > /tmp/ca.crt'], ca);

  step('Alice, on call, uses psql in her pod: the server by the Target\'s own name, her token as the password. Regulated columns are masked');
  await psql(at, 'select id, name, ssn, card, balance from customers order by id', (text) => text.includes('***-**-7841') && !text.includes('536-22-7841'));
  await psql(at, 'drop table orders', (text) => text.includes('STATEMENT_DENIED'));

  step('She changes the schema: the statement is held on the wire until a DBA has decided');
  await heldAlter(at);

  step('While she works, the team deletes the policy: her session ends, and no new one opens');
  await revoked(at);

  if (at.sshImage !== null) await sshStory(at, at.sshImage);
  else say('\nThe SSH part is left out: it needs SSH_IMAGE and a CLIENT_IMAGE with ssh (e2e/cluster/images).');

  step('What happened is there to read');
  await eventually('sessions are shown', async () => / Ended /.test((await at.run('kubectl', ['get', 'asess', '-n', 'payments'])).out), 60_000);
  await kubectl(['get', 'asess,areq', '-n', 'payments'], {}, (text) => text.includes('oidc:alice@bank.example'));
}

async function sshStory(at: Place, image: string): Promise<void> {
  step('The same for a host with sshd: one Target, one AccessPolicy; the gateway\'s host key is published');
  const host = sshHost(image);
  await kubectl(['apply', '-f', '-'], { input: host.yaml, quiet: true, shown: 'kubectl apply -f web.yaml' });
  await kubectl(['wait', '--for=condition=Ready', 'pod/web', '-n', 'payments', '--timeout=120s']);
  await kubectl(['apply', '-f', '-'], { input: readFileSync(file('ssh-target.yaml'), 'utf8').replace(/hostKeys: .*/, () => `hostKeys: ["${host.hostKey}"]`), shown: 'kubectl apply -f ssh-target.yaml' });
  await kubectl(['apply', '-f', '-'], { input: readFileSync(file('ssh-policy.yaml'), 'utf8'), shown: 'kubectl apply -f ssh-policy.yaml' });
  await kubectl(['wait', '--for=condition=Ready', 'target/web-1', 'accesspolicy/oncall-hosts', '-n', 'payments', '--timeout=120s']);
  await kubectl(['get', 'tgt', '-n', 'payments'], {}, (text) => /web-1 +web-1\.payments:22 +True +2\/2/.test(text));
  const known = (await at.run('kubectl', ['get', 'configmap', 'sallyport-ssh-known-hosts', '-n', 'payments', '-o', 'jsonpath={.data.known_hosts}'])).out;
  await at.run('kubectl', ['exec', '-i', '-n', 'payments', 'client', '--', 'sh', '-c', 'cat > /tmp/known_hosts'], known);
  await at.run('kubectl', ['exec', '-i', '-n', 'payments', 'client', '--', 'sh', '-c', 'cat > /tmp/askpass && chmod 700 /tmp/askpass'], '#!/bin/sh\necho "$TOKEN"\n');

  step('Alice uses stock ssh. What no rule names is denied, what needs more rights waits for a second person');
  await ssh(at, 'id', (text) => text.includes('uid=1001(deploy)'));
  await ssh(at, 'rm -fr /srv', (text) => text.includes('COMMAND_DENIED'));
  await ssh(at, 'ls /; id', (text) => text.includes('COMMAND_NOT_ALLOWED'));
  const held = await liveSsh(at, 'sudo cat /etc/group');
  const [, request = ''] = await held.until(/(r-[0-9a-f]{20}-\d+)/);
  for (const line of held.text().trimEnd().split('\n')) say(`  ${line}`);
  await approve(at, 'bob', request, (_text, failed) => !failed);
  await held.until(/^deploy:x:1001:/m);
  show({ code: 0, out: 'root:x:0: …', err: '' }, () => true);
  await held.end();

  step('A command runs while its policy is deleted: it is cut');
  const running = await liveSsh(at, 'id; sleep 300');
  await running.until(/uid=1001/);
  await kubectl(['delete', 'apol', 'oncall-hosts', '-n', 'payments']);
  const deletedMs = performance.now();
  const [line = ''] = await running.until(/sallyport:[^\n]*SESSION_REVOKED[^\n]*/);
  show({ code: 0, out: `${line}\n(${Math.round(performance.now() - deletedMs)} ms after kubectl had answered)`, err: '' }, () => performance.now() - deletedMs < 5_000);
  await running.end();
}

async function ssh(at: Place, command: string, expected: Expected): Promise<void> {
  const session = await liveSsh(at, command);
  show(await session.end(), expected);
}

async function liveSsh(at: Place, command: string): Promise<LiveProgram> {
  say(`  (alice) $ ssh deploy@web-1.payments '${command}'`);
  const options = ['StrictHostKeyChecking=yes', 'UserKnownHostsFile=/tmp/known_hosts', 'PreferredAuthentications=password'].flatMap((option) => ['-o', option]);
  const session = at.live('kubectl', ['exec', '-i', '-n', 'payments', 'client', '--', 'sh', '-c', 'IFS= read -r TOKEN; export TOKEN SSH_ASKPASS=/tmp/askpass SSH_ASKPASS_REQUIRE=force; exec ssh "$@"', 'ssh', ...options, 'deploy@web-1.payments', command]);
  session.say(await at.tokenOf('alice'));
  return session;
}

async function fillDatabase(at: Place): Promise<void> {
  const direct = (database: string, sql: string): Promise<Ran> => at.run('kubectl', ['exec', '-i', '-n', 'payments', 'client', '--', 'env', `PGPASSWORD=${passwords.superuser}`, 'psql', `host=orders-rw user=postgres dbname=${database} sslmode=require`, '-v', 'ON_ERROR_STOP=1', '-q'], sql);
  // Right after its readiness a Service may refuse for a moment.
  await eventually('the database answers', async () => (await direct('postgres', 'select 1')).code === 0, 30_000);
  const schema = readFileSync(file('../demo/schema.sql'), 'utf8').replace('demo-only-target-password', passwords.gateway);
  for (const ran of [await direct('postgres', 'create database orders'), await direct('orders', schema)]) if (ran.code !== 0) throw new Error(`the database is not filled: ${ran.err}`);
}

async function heldAlter(at: Place): Promise<void> {
  const held = await live(at, 'alice');
  held.say('alter table orders add column note text;');
  const [, request = ''] = await held.until(/(r-[0-9a-f]{20}-\d+)/);
  for (const line of held.text().trimEnd().split('\n')) say(`  ${line}`);
  await kubectl(['get', 'areq', '-n', 'payments'], {}, (text) => text.includes(request) && text.includes('Pending'));
  await approve(at, 'alice', request, (text, failed) => failed && /requester|self|differ/i.test(text));
  await approve(at, 'bob', request, (_text, failed) => !failed);
  await held.until(/ALTER TABLE/);
  show({ code: 0, out: 'ALTER TABLE', err: '' }, () => true);
  await held.end();
  await eventually('the request is closed', async () => (await at.run('kubectl', ['get', 'areq', request, '-n', 'payments'])).out.includes('Approved'), 30_000);
  await kubectl(['get', 'areq,adec', '-n', 'payments'], {}, (text) => /oidc:alice@bank\.example +orders-db +Alter on public\.orders +1\/1 +Approved/.test(text) && text.includes('oidc:bob@bank.example'));
}

/** With the person's own credentials at the API server, and no others. */
async function approve(at: Place, who: Person, request: string, expected: Expected): Promise<void> {
  const args = ['approve', request, '--namespace', 'payments', '--kubeconfig', await at.kubeconfigOf(who), '--yes', '--reason', 'looked at it, small table'];
  say(`  (${who}) $ kubectl sallyport approve ${request} -n payments --reason 'looked at it, small table'`);
  show(await at.run(process.execPath, ['--disable-warning=ExperimentalWarning', cli, ...args]), expected);
}

async function revoked(at: Place): Promise<void> {
  const session = await live(at, 'alice');
  session.say('select count(*) from orders;\nselect pg_sleep(60);');
  await session.until(/^ *3\b/m);
  await kubectl(['delete', 'apol', 'oncall', '-n', 'payments']);
  const deletedMs = performance.now();
  const [line = ''] = await session.until(/FATAL:[^\n]*(?:\n[^\n]*)?/);
  show({ code: 0, out: `${line.replaceAll('\n', ' ')}\n(${Math.round(performance.now() - deletedMs)} ms after kubectl had answered)`, err: '' }, () => performance.now() - deletedMs < 5_000);
  await session.end();
  await psql(at, 'select 1', (text) => text.includes('ACCESS_DENIED'));
}

async function psql(at: Place, sql: string, expected: Expected): Promise<void> {
  say(`  (alice) $ psql "host=orders-db.payments dbname=orders user=alice sslmode=verify-full sslrootcert=ca.crt" -c "${sql}"`);
  const session = await live(at, 'alice', ['-c', sql]);
  show(await session.end(), expected);
}

async function live(at: Place, person: Person, more: readonly string[] = []): Promise<LiveProgram> {
  const session = at.live('kubectl', ['exec', '-i', '-n', 'payments', 'client', '--', 'sh', '-c', 'IFS= read -r PGPASSWORD; export PGPASSWORD; exec psql "$@"', 'psql', `host=orders-db.payments dbname=orders user=${person} sslmode=verify-full sslrootcert=/tmp/ca.crt`, ...more]);
  session.say(await at.tokenOf(person));
  return session;
}

type Expected = (text: string, failed: boolean) => boolean;

interface Shown {
  readonly input?: string;
  /** Only whether it went well is of interest. */
  readonly quiet?: boolean;
  readonly shown?: string;
}

async function kubectl(args: readonly string[], options: Shown = {}, expected: Expected = (_text, failed) => !failed): Promise<void> {
  await kubectlLike('kubectl', args, options, expected);
}

async function kubectlLike(program: string, args: readonly string[], options: Shown, expected: Expected = (_text, failed) => !failed): Promise<void> {
  if (place === null) return;
  say(`  $ ${options.shown ?? `${program} ${args.join(' ')}`}`);
  const ran = await place.run(program, args, options.input);
  show(options.quiet === true && ran.code === 0 ? { ...ran, out: '', err: '' } : ran, expected);
  // What follows would only fail in stranger ways.
  if (ran.code !== 0) throw new Error(`${program} ${args[0]} failed`);
}

function show(ran: Ran, expected: Expected): void {
  const text = `${ran.out}${ran.err}`.trimEnd();
  if (text !== '') for (const line of text.split('\n')) say(`    ${line}`);
  if (expected(text, ran.code !== 0)) return;
  failures++;
  say('  ✗ this is not what should have happened');
}

async function keep(): Promise<void> {
  say('\nIt stays up; Ctrl-C ends everything.');
  await new Promise<void>((resolve) => {
    // Something to wait for: a signal alone keeps no process.
    const awake = setInterval(() => undefined, 3_600_000);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { clearInterval(awake); resolve(); });
  });
}

/** Removes everything that the demo brought, the definitions included (a release keeps them), and nothing when it did not begin. */
async function cleanUp(at: Place): Promise<void> {
  const crds = ['targets', 'accesspolicies', 'identityproviders', 'proxyconfigs', 'accessrequests', 'accessdecisions', 'accesssessions'].map((name) => `${name}.sallyport.dev`);
  const steps: readonly (readonly [string, readonly string[]])[] = [
    ['kubectl', ['delete', 'target,accesspolicy', '--all', '-n', 'payments']], ['kubectl', ['delete', 'pods', '--all', '-n', 'payments', '--grace-period=0', '--force']],
    ['kubectl', ['delete', 'namespace', 'payments', '--ignore-not-found', '--wait=false']], ['kubectl', ['delete', 'identityprovider', 'company', '--ignore-not-found']],
    ['helm', ['uninstall', 'sallyport', '--namespace', 'sallyport-system']], ['kubectl', ['delete', 'namespace', 'sallyport-system', '--ignore-not-found', '--wait=false']], ['kubectl', ['delete', 'crd', '--ignore-not-found', ...crds]],
  ];
  // A node of our own goes as a whole.
  if (begun && at.isLasting) for (const [program, args] of steps) await at.run(program, args);
  await at[Symbol.asyncDispose]();
}

function step(title: string): void {
  say(`\n── ${title}`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function seconds(): string {
  return `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
}
