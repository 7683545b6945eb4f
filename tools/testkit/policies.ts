import { type Approval, type Policy, type PostgresRule, type PostgresTarget, type ProxyConfig, type Rule, type Schedule, type SshMatch, type SshRule, type SshTarget, type StatementClass, type Subject, type Target, parseProxyConfig, statementClasses } from '../../contract/proxy-config.ts';
import { type Identity, subjectKey } from '../../sidecar/core/identity/identity.ts';
import type { CommandFacts, CommandPair, Grant, SshCommand, SshItem } from '../../sidecar/core/policy/decision.ts';
import type { ShellWord } from '../../sidecar/core/shell/shell-facts.ts';

/** Short forms for tests and vectors: what is left out gets the value that restricts nothing. */
export interface ShortApproval { readonly groups: readonly string[]; readonly required?: number; readonly decideWithin?: number; readonly scope?: Approval['scope']; readonly ttl?: number }
export interface ShortRule {
  readonly name: string;
  readonly action: Rule['action'];
  readonly message?: string;
  readonly statements?: readonly StatementClass[];
  readonly databases?: readonly string[];
  /** `schema.name`. */
  readonly tables?: readonly string[];
  readonly where?: 'Missing' | 'Present';
  readonly approval?: ShortApproval;
  readonly ssh?: ShortSshRule;
}
/** Words of `commands` are parted by blanks. */
export interface ShortSshRule {
  readonly accounts?: readonly string[];
  readonly commands?: readonly string[];
  readonly pty?: boolean;
  readonly stdin?: 'Closed' | 'Attach';
  readonly writes?: readonly string[];
  readonly output?: 'Text' | 'Binary';
  readonly unmasked?: boolean;
  readonly unknown?: true;
  readonly level?: 'CommandMode' | 'RawShell';
  readonly files?: { readonly operations: readonly ('Read' | 'Write' | 'List')[]; readonly paths: readonly string[]; readonly maxBytes?: number };
  readonly forward?: { readonly to?: readonly string[]; readonly listen?: readonly string[] };
  readonly agent?: true;
  readonly x11?: true;
}
export interface ShortPolicy {
  readonly generation?: number;
  /** `group:sre`, `user:ann`, `sa:ci/migrator`, `claims:EXPRESSION`. */
  readonly subjects?: readonly string[];
  readonly targets?: readonly string[];
  readonly authMethods?: readonly NonNullable<Policy['sshAuthMethods']>[number][];
  readonly onRequest?: ShortApproval;
  /** `Mon,Tue 07:00-19:00 America/New_York`; days may be `*`. */
  readonly when?: readonly string[];
  readonly limits?: Partial<Policy['limits']>;
  readonly rules?: readonly ShortRule[];
  readonly masking?: Policy['masking'];
  readonly recording?: Partial<Policy['recording']>;
}
export interface ShortIdentity { readonly user?: string; readonly groups?: readonly string[]; readonly sa?: string; readonly claims?: Readonly<Record<string, unknown>>; readonly actors?: readonly string[]; readonly expires?: string; readonly provider?: string; readonly authMethod?: NonNullable<Identity['authMethod']> }
export interface ShortGrant { readonly policy: string; readonly generation?: number; readonly rule?: string; readonly scope?: 'Session' | 'Window'; readonly session?: string; readonly user?: string; readonly actors?: readonly string[]; readonly target?: string; readonly until: string }

const issuer = 'https://idp.bank.example';

/** A policy in compiled form. */
export function aPolicy(name: string, short: ShortPolicy = {}): Policy {
  return {
    name, uid: `uid-${name}`, generation: short.generation ?? 1, digest: `sha256:${name}`,
    subjects: (short.subjects ?? ['group:staff']).map(readSubject), targets: [...(short.targets ?? ['orders-db'])],
    ...(short.authMethods === undefined ? {} : { sshAuthMethods: [...short.authMethods] }),
    access: short.onRequest === undefined ? { mode: 'Standing', approval: null } : { mode: 'OnRequest', approval: anApproval({ scope: 'Session', ttl: 3600, ...short.onRequest }) },
    when: (short.when ?? []).map(readSchedule),
    limits: { sessionSeconds: null, idleSeconds: null, concurrentSessions: null, rowsPerStatement: null, bytesPerStatement: null, ...short.limits },
    rules: (short.rules ?? []).map(aRule), masking: short.masking ?? [], recording: { content: 'Metadata', durability: 'Write', ...short.recording },
  };
}

export function aRule(short: ShortRule): PostgresRule | SshRule {
  const rule = { name: short.name, action: short.action, message: short.message ?? null, approval: short.approval === undefined ? null : anApproval(short.approval) };
  if (short.ssh !== undefined) return { ...rule, ssh: { accounts: short.ssh.accounts === undefined ? null : [...short.ssh.accounts], match: anSshMatch(short.ssh), unmasked: short.ssh.unmasked ?? false } };
  return {
    ...rule,
    postgres: {
      statements: short.statements === undefined ? null : [...short.statements], databases: short.databases === undefined ? null : [...short.databases],
      tables: short.tables === undefined ? null : short.tables.map(readRelation), where: short.where ?? null,
    },
  };
}

function anSshMatch(short: ShortSshRule): SshMatch {
  const { commands, files, forward, level } = short;
  if (commands !== undefined) return { kind: 'Commands', patterns: commands.map((text) => text.split(' ')), pty: short.pty ?? false, stdin: short.stdin ?? 'Closed', writes: [...short.writes ?? []], output: short.output ?? 'Text' };
  if (files !== undefined) return { kind: 'Files', operations: [...files.operations], paths: [...files.paths], maxBytes: files.maxBytes ?? null };
  if (forward !== undefined) return { kind: 'Forward', to: [...forward.to ?? []], listen: [...forward.listen ?? []] };
  if (level !== undefined) return { kind: 'Level', level };
  return { kind: short.unknown === true ? 'Unknown' : short.agent === true ? 'Agent' : 'X11' };
}

export function anApproval(short: ShortApproval): Approval {
  return { groups: [...short.groups], required: short.required ?? 1, decideWithinSeconds: short.decideWithin ?? 900, scope: short.scope ?? 'Statement', grantTtlSeconds: short.ttl ?? null };
}

export function aTarget(name = 'orders-db', databases: readonly string[] = []): PostgresTarget {
  return {
    name, uid: `uid-${name}`, generation: 1, labels: {}, listenPort: 0,
    postgres: { host: 'db.internal', port: 5432, tls: { mode: 'VerifyFull', serverName: null, channelBinding: 'Prefer', caSecret: null }, credentialsSecret: 'orders-gateway', databases: [...databases] },
  };
}

export function anSshTarget(name = 'web-1', accounts: readonly string[] = ['deploy', 'ops'], level: SshTarget['ssh']['level'] = 'RawShell'): SshTarget {
  return {
    name, uid: `uid-${name}`, generation: 1, labels: {}, listenPort: 0,
    ssh: {
      host: 'web.internal', port: 22, hostKeys: ['ssh-ed25519 AAAA'], hostCertificateAuthorities: [], accounts: [...accounts], credentialsSecret: 'web-gateway', accountCredentials: {},
      loginShell: { type: 'Bash', wrap: false }, level,
    },
  };
}

export function aProvider(over: Partial<ProxyConfig['identityProviders'][number]> = {}): ProxyConfig['identityProviders'][number] {
  return {
    name: 'okta', uid: 'uid-okta', generation: 1, type: 'OIDC', issuer, audiences: ['sallyport'], usernameClaim: 'email', usernamePrefix: 'oidc:', groupsClaim: 'groups', groupsPrefix: '',
    uidClaim: null, jwksUri: null, caBundle: null, algorithms: ['RS256', 'ES256'], clockSkewSeconds: 30, ...over,
  };
}

/** A config that the schema accepts, unless a test breaks a rule of it on purpose. */
export function aConfig(policies: readonly Policy[], targets: readonly Target[] = [aTarget()]): ProxyConfig {
  return { schemaVersion: 1, namespace: 'payments', identityProviders: [aProvider()], targets: [...targets], policies: [...policies] };
}

/** Whether the schema accepts what a builder made: keeps the builders honest. */
export function isAcceptedConfig(config: ProxyConfig): boolean {
  return parseProxyConfig(config).outcome === 'parsed';
}

export function anIdentity(short: ShortIdentity = {}): Identity {
  const serviceAccount = short.sa === undefined ? null : { namespace: before(short.sa, '/'), name: after(short.sa, '/') };
  const subject = serviceAccount === null ? (short.user ?? 'ann') : `system:serviceaccount:${serviceAccount.namespace}:${serviceAccount.name}`;
  return {
    provider: short.provider ?? 'okta', issuer, subject, username: subject, groups: short.groups ?? (serviceAccount === null ? ['staff'] : []), uid: null, email: null, serviceAccount,
    actors: (short.actors ?? []).map((actor) => ({ issuer, subject: actor })), tokenId: null, authTimeMs: null, acr: null, amr: [], issuedAtMs: null,
    ...(short.authMethod === undefined ? {} : { authMethod: short.authMethod }), expiresAtMs: Date.parse(short.expires ?? '2030-01-01T00:00:00Z'), claims: { iss: issuer, sub: subject, ...short.claims },
  };
}

export function aGrant(short: ShortGrant): Grant {
  return {
    requestName: 'areq-test', requestUid: 'uid-areq-test', policyUid: `uid-${short.policy}`, policyGeneration: short.generation ?? 1, rule: short.rule ?? null,
    scope: short.scope ?? 'Window', sessionId: short.session ?? null, subject: subjectKey({ issuer, subject: short.user ?? 'ann' }),
    ...(short.actors === undefined ? {} : { actorKeys: short.actors.map((subject) => subjectKey({ issuer, subject })) }),
    target: short.target ?? 'orders-db', expiresAtMs: Date.parse(short.until), approvers: ['dba'],
  };
}

/** `Select public.orders`, `Delete public.orders Missing`, `Do *`, `Set -`, `Insert sales.y2025 < sales.orders` (child < parent). */
export function readCommand(database: string, pairs: readonly string[]): CommandFacts {
  const read = pairs.map(readPair);
  return { kind: read[0]?.class ?? 'Other', pairs: read, database };
}

/**
 * `cmd rm -rf $x > /srv/y` (a word with `$` is dynamic; what follows `>` is written), `wrap nice` (needs no rule of its own), `unknown REASON`, `level RawShell`, `read|write|list PATH [BYTES|All|Moved]`,
 * `to|listen HOST:PORT`, `agent`, `x11`.
 */
export function readSshCommand(account: string, items: readonly string[]): SshCommand {
  return { kind: 'Exec', account, items: items.map(readSshItem) };
}

function readSshItem(text: string): SshItem {
  const [kind = '', ...rest] = text.split(' ');
  const [first = ''] = rest;
  switch (kind) {
    case 'cmd': case 'wrap': return readShellCommand(rest, kind === 'cmd');
    case 'unknown': return { kind, reason: rest.join(' ') };
    case 'level': return { kind, level: first === 'RawShell' ? first : 'CommandMode' };
    case 'read': return readFileItem('Read', rest);
    case 'list': return readFileItem('List', rest);
    case 'write': return readFileItem('Write', rest);
    case 'to': case 'listen': return { kind: 'forward', direction: kind, destination: first };
    case 'agent': case 'x11': return { kind };
    default: throw new Error(`not an item: ${text}`);
  }
}

function readFileItem(operation: 'Read' | 'Write' | 'List', [path = '', more]: readonly string[]): SshItem {
  const item = { kind: 'file', operation, path, bytes: more !== undefined && /^[0-9]+$/.test(more) ? Number(more) : null } as const;
  return more === 'All' || more === 'Moved' ? { ...item, below: more } : item;
}

function readShellCommand(texts: readonly string[], needsRule: boolean): SshItem {
  const end = texts.includes('>') ? texts.indexOf('>') : texts.length;
  const words = texts.slice(0, end).map((text): ShellWord => (text.includes('$') ? { kind: 'dynamic', source: text } : { kind: 'static', text }));
  const writes = texts.slice(end + 1).map((source) => ({ path: source.includes('$') ? null : source, source }));
  const path = texts[0] ?? '';
  return { kind: 'command', command: { program: path.slice(path.lastIndexOf('/') + 1), path, words, writes, needsRule } };
}

function readPair(text: string): CommandPair {
  const [front, ...parents] = text.split(' < ');
  const [className, object, where] = (front ?? '').split(' ');
  const statementClass = statementClasses.find((known) => known === className);
  if (statementClass === undefined || object === undefined || !(where === undefined || where === 'Missing' || where === 'Present')) throw new Error(`not a pair: ${text}`);
  return {
    class: statementClass, object: object === '-' ? null : object === '*' ? '*' : readRelation(object), where: where ?? null,
    ...(parents.length === 0 ? {} : { ancestors: parents.map(readRelation) }),
  };
}

function readRelation(text: string): { schema: string; name: string } {
  return { schema: before(text, '.'), name: after(text, '.') };
}

function readSubject(text: string): Subject {
  const rest = after(text, ':');
  switch (before(text, ':')) {
    case 'group': return { kind: 'Group', name: rest };
    case 'user': return { kind: 'User', name: rest };
    case 'sa': return { kind: 'ServiceAccount', namespace: before(rest, '/'), name: after(rest, '/') };
    case 'claims': return { kind: 'Claims', expression: rest };
    default: throw new Error(`not a subject: ${text}`);
  }
}

const dayNames = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

export function readSchedule(text: string): Schedule {
  const [days, hours, timeZone] = text.split(' ');
  const minutes = (clock: string): number => Number(before(clock, ':')) * 60 + Number(after(clock, ':'));
  if (days === undefined || hours === undefined || timeZone === undefined) throw new Error(`not a schedule: ${text}`);
  return { days: days === '*' ? [] : days.split(',').map((day) => dayNames.indexOf(day)), fromMinute: minutes(before(hours, '-')), toMinute: minutes(after(hours, '-')), timeZone };
}

function before(text: string, separator: string): string {
  return text.slice(0, text.indexOf(separator));
}

function after(text: string, separator: string): string {
  return text.slice(text.indexOf(separator) + separator.length);
}
