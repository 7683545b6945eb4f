import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import type { CastHeader, CastRecorder, SshEvent, SshSessionRecorder } from '../../contract/audit.ts';
import type { SshLevel } from '../../contract/proxy-config.ts';
import { createShellParser } from '../../sidecar/adapters/shell-parser.ts';
import { type Denial, deny } from '../../sidecar/core/errors.ts';
import { redactCommandText } from '../../sidecar/core/masking/redact-command.ts';
import { createTextMask, masksText } from '../../sidecar/core/masking/text-stream.ts';
import { authorize } from '../../sidecar/core/policy/authorize.ts';
import type { ApprovalAsk, ApprovalOutcome, Approver } from '../../sidecar/core/ports.ts';
import { Session } from '../../sidecar/core/session/session.ts';
import { createTally } from '../../sidecar/core/session/tally.ts';
import { classifyShell } from '../../sidecar/core/shell/classify.ts';
import { ClientChannels } from '../../sidecar/ssh/channels.ts';
import type { ChannelServers } from '../../sidecar/ssh/channel-servers.ts';
import { serveCommandMode } from '../../sidecar/ssh/command-mode/serve-command-mode.ts';
import type { SshContext } from '../../sidecar/ssh/context.ts';
import { serveRawShell } from '../../sidecar/ssh/raw-shell.ts';
import { createSshServer } from '../../sidecar/ssh/server.ts';
import { connectSshTarget } from '../../sidecar/ssh/upstream.ts';
import { aConfig, anIdentity, anSshTarget, aPolicy, type ShortPolicy } from '../../tools/testkit/policies.ts';
import type { OpenSsh } from './openssh.ts';

/** One recording, as it was written. */
export interface ShownCast {
  readonly header: CastHeader;
  readonly events: readonly (readonly [code: string, data: string])[];
}

/** The two legs with real channels, gate and shells between them; login, recorder and approver are fakes in memory. For what shells promise. */
export interface ShellDoor extends AsyncDisposable {
  readonly port: number;
  readonly events: readonly SshEvent[];
  readonly casts: readonly ShownCast[];
  readonly failures: readonly unknown[];
  /** Requests that wait, oldest first. */
  readonly asks: readonly { readonly ask: ApprovalAsk; readonly settle: (outcome: ApprovalOutcome['outcome']) => void; readonly withdrawn: () => string | null }[];
  /** Ends every session with this reason. */
  end(denial: Denial): void;
  /** Everything that was recorded, as one text: for values that must not be in it. */
  recorded(): string;
}

export interface ShellDoorOptions {
  readonly sshd: OpenSsh;
  readonly policy: ShortPolicy;
  readonly level?: SshLevel;
  readonly wrap?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts it on a loopback port. */
export async function startShellDoor(options: ShellDoorOptions): Promise<ShellDoor> {
  const { sshd } = options;
  const base = anSshTarget('web-1', [sshd.account], options.level ?? 'RawShell');
  const target = {
    ...base,
    ssh: { ...base.ssh, host: '127.0.0.1', port: sshd.port, hostKeys: sshd.hostKeys.map((key) => key.publicLine.split(' ').slice(0, 2).join(' ')), loginShell: { type: 'Bash' as const, wrap: options.wrap ?? false } },
  };
  const config = aConfig([aPolicy('staff', { targets: ['web-1'], ...options.policy })], [target]);
  const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
  const log = { error: () => undefined, info: () => undefined, debug: () => undefined };
  const key = readFileSync(sshd.userKey.path);
  const secrets = {
    read: (_name: string, part: string) => (part === 'privateKey' ? Promise.resolve(key) : Promise.reject(new Error(part))),
    readOptional: (_name: string, part: string) => Promise.resolve(part === 'privateKey' ? key : null),
  };
  const [events, casts, failures, asks, ends]: [SshEvent[], { header: CastHeader; events: [string, string][] }[], unknown[], ShellDoor['asks'][number][], ((denial: Denial) => void)[]] = [[], [], [], [], []];
  const parser = createShellParser();
  const approver = fakeApprover(asks);
  const server = createSshServer({ hostKeys: [readFileSync(sshd.hostKeys[0]?.path ?? '')] });
  const sockets = new Set<Socket>();

  const listener = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    void server.serve(socket, {
      failed: (error) => void failures.push(error),
      connected: (served) => {
        served.connection.on('authentication', (context) => context.accept());
        const channels = new ClientChannels(served, { servers, refused: () => undefined, mayGrant: () => false });
        const open = async (): Promise<void> => {
          const identity = anIdentity({ user: 'ann' });
          const allowed = authorize({ identity, target, database: sshd.account, config, nowMs: Date.now(), grants: [], openSessions: 0 });
          if (allowed.outcome !== 'allowed') throw new Error(JSON.stringify(allowed));
          const { permit } = allowed;
          const sessionId = randomBytes(8).toString('hex');
          const upstream = await connectSshTarget(permit, { account: sshd.account, sessionId }, { secrets, clock, signal: AbortSignal.timeout(10_000), deadlineMs: 10_000 });
          served.closed.addEventListener('abort', () => void upstream[Symbol.asyncDispose]());
          const ended = new AbortController();
          const end = (denial: Denial): void => {
            ended.abort(denial);
            channels.end({ lines: [denial.message], status: 255 });
          };
          ends.push(end);
          const context: SshContext = {
            session: new Session(sessionId, permit, clock), account: sshd.account, recorder: fakeRecorder(sessionId, events, casts), target: upstream.client, connection: served.connection, ssh: target.ssh, approver, clock, log,
            digestKey: randomBytes(32), tally: createTally(), inspect: (text) => classifyShell(text, 'Bash', parser), parser, redact: (text) => redactCommandText(text, permit.masking),
            textMask: (mode) => (masksText(permit.masking) ? createTextMask(permit.masking, mode) : null), activity: { running: 0, held: 0 }, totals: { bytes: 0, denied: 0 }, nextChannel: () => channels.nextChannel(),
            fail: (error) => {
              failures.push(error);
              end(deny('INTERNAL'));
            },
            ended: ended.signal,
          };
          channels.open(context);
        };
        served.connection.on('ready', () => void open().catch((error: unknown) => {
          failures.push(error);
          served.fail(error);
        }));
      },
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return {
    port: (listener.address() as { readonly port: number }).port, events, casts, failures, asks,
    end: (denial) => {
      for (const end of ends) end(denial);
    },
    recorded: () => JSON.stringify([events, casts]),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      parser[Symbol.dispose]();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

const refuse = (): Promise<never> => Promise.reject(new Error('not served here'));
const servers: ChannelServers = {
  commandMode: serveCommandMode, rawShell: serveRawShell, sftp: refuse, transfer: refuse, forward: refuse, listen: refuse, grantsAgent: () => Promise.resolve(false), grantsX11: () => Promise.resolve(false),
};

function fakeRecorder(sessionId: string, events: SshEvent[], casts: { header: CastHeader; events: [string, string][] }[]): SshSessionRecorder {
  let operations = 0;
  return {
    sessionId, start: () => Promise.resolve(), end: () => Promise.resolve(), note: (event) => void events.push(event),
    record: (event) => {
      events.push(event);
      operations += 1;
      return Promise.resolve(operations);
    },
    openCast: (header): CastRecorder => {
      const cast = { header, events: [] as [string, string][] };
      casts.push(cast);
      return {
        output: (bytes) => void cast.events.push(['o', Buffer.from(bytes).toString('utf8')]), resize: (columns, rows) => void cast.events.push(['r', `${columns}x${rows}`]), marker: (label) => void cast.events.push(['m', label]),
        exit: (status) => void cast.events.push(['x', String(status)]), flush: () => undefined, close: () => Promise.resolve(),
      };
    },
  };
}

function fakeApprover(asks: ShellDoor['asks'][number][]): Approver {
  return {
    grants: () => [], subscribe: () => () => undefined, howToDecide: (request) => `sallyport approve ${request}`,
    ask: (ask) => {
      const { promise, resolve } = Promise.withResolvers<ApprovalOutcome>();
      const name = `areq-${asks.length + 1}`;
      let reason: string | null = null;
      asks.push({
        ask, withdrawn: () => reason,
        settle: (outcome) => {
          const approver = { key: 'k', username: 'sam', decisionUid: 'd', decidedAtMs: Date.now(), method: 'test' };
          if (outcome === 'approved') resolve({ outcome, request: name, requestUid: 'u', approvers: [approver], grant: null });
          else if (outcome === 'denied') resolve({ outcome, request: name, approver: 'sam', reason: 'not today' });
          else resolve({ outcome, request: name });
        },
      });
      return Promise.resolve({
        outcome: 'pending',
        pending: {
          name, uid: 'u', decideByMs: Date.now() + 900_000, outcome: promise, use: () => Promise.resolve(true),
          withdraw: (why) => {
            reason = why;
            return Promise.resolve();
          },
        },
      });
    },
  };
}
