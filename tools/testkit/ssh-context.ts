import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Client, Connection } from 'ssh2';
import type { CastRecorder, SshEvent, SshSessionRecorder } from '../../contract/audit.ts';
import type { MaskingRule, SshTarget } from '../../contract/proxy-config.ts';
import { createShellParser } from '../../sidecar/adapters/shell-parser.ts';
import type { SallyportError } from '../../sidecar/core/errors.ts';
import { redactCommandText } from '../../sidecar/core/masking/redact-command.ts';
import { createTextMask } from '../../sidecar/core/masking/text-stream.ts';
import { authorize } from '../../sidecar/core/policy/authorize.ts';
import type { Permit } from '../../sidecar/core/policy/permit.ts';
import { Session } from '../../sidecar/core/session/session.ts';
import { createTally } from '../../sidecar/core/session/tally.ts';
import { classifyShell } from '../../sidecar/core/shell/classify.ts';
import type { SshContext } from '../../sidecar/ssh/context.ts';
import { type FakeClock, fakeClock } from './fake-clock.ts';
import { aConfig, anIdentity, anSshTarget, aPolicy, type ShortPolicy } from './policies.ts';
import { FakeApprover, silentLog } from './relay-context.ts';

/** A permit for account `deploy` of `web-1`, as `authorize` gives it. */
export function anSshPermit(policies: Readonly<Record<string, ShortPolicy>>, target: SshTarget, nowMs: number): Permit {
  const compiled = Object.entries(policies).map(([name, short]) => aPolicy(name, { targets: ['web-1'], ...short }));
  const outcome = authorize({ identity: anIdentity(), target, database: 'deploy', config: aConfig(compiled, [target]), nowMs, grants: [], openSessions: 0 });
  if (outcome.outcome !== 'allowed') throw new Error(`not allowed: ${outcome.explain.join('; ')}`);
  return outcome.permit;
}

/** Keeps what was recorded. */
export class FakeSshRecorder implements SshSessionRecorder {
  readonly sessionId = '01SESSION';
  readonly events: SshEvent[] = [];
  /** Set: nothing can be recorded any more. */
  fails: SallyportError | null = null;
  /** What happens while a record is written. */
  whileRecording: () => void = () => undefined;

  start(): Promise<void> {
    return Promise.resolve();
  }

  record(event: SshEvent): Promise<number> {
    if (this.fails !== null) return Promise.reject(this.fails);
    this.events.push(event);
    this.whileRecording();
    return Promise.resolve(this.events.length);
  }

  note(event: SshEvent): void {
    this.events.push(event);
  }

  openCast(): CastRecorder {
    return { output: () => undefined, resize: () => undefined, marker: () => undefined, exit: () => undefined, flush: () => undefined, close: () => Promise.resolve() };
  }

  end(): Promise<void> {
    return Promise.resolve();
  }
}

/** The target's side: keeps the texts that it was given, and answers each with `output` and exit 0. */
export class FakeSshHost {
  readonly texts: string[] = [];
  output = '';

  exec(text: string, _options: object, done: (error: undefined, channel: unknown) => void): void {
    this.texts.push(text);
    const channel = Object.assign(new PassThrough(), { stderr: new PassThrough(), signal: () => undefined, close: () => undefined, setWindow: () => undefined });
    const output = new PassThrough();
    const events: EventEmitter = channel;
    done(undefined, channel);
    output.end();
    channel.stderr.end();
    channel.end(this.output);
    setImmediate(() => {
      events.emit('exit', 0);
      events.emit('close');
    });
  }
}

export interface SshBench {
  readonly context: SshContext;
  readonly session: Session;
  readonly recorder: FakeSshRecorder;
  readonly approver: FakeApprover;
  readonly clock: FakeClock;
  readonly host: FakeSshHost;
  /** Ends the session as its registry does. */
  readonly ended: AbortController;
}

/** An SSH session of account `deploy` on `web-1` with fakes around it. */
export function anSshBench(policies: Readonly<Record<string, ShortPolicy>>, shell: Partial<SshTarget['ssh']> = {}): SshBench {
  const clock = fakeClock();
  const target: SshTarget = { ...anSshTarget(), ssh: { ...anSshTarget().ssh, ...shell } };
  const session = new Session('01SESSION', anSshPermit(policies, target, clock.now()), clock);
  const [recorder, approver, host, ended, parser] = [new FakeSshRecorder(), new FakeApprover(), new FakeSshHost(), new AbortController(), createShellParser()];
  let channels = 0;
  const rules: readonly MaskingRule[] = session.permit.masking;
  const context: SshContext = {
    session, account: 'deploy', recorder, target: host as unknown as Client, connection: new EventEmitter() as Connection, ssh: target.ssh, approver, clock, log: silentLog, digestKey: new Uint8Array(32), tally: createTally(),
    inspect: (text) => classifyShell(text, target.ssh.loginShell.type, parser), parser, redact: (text) => redactCommandText(text, rules), textMask: (mode) => (rules.length === 0 ? null : createTextMask(rules, mode)),
    activity: { running: 0, held: 0 }, totals: { bytes: 0, denied: 0 }, nextChannel: () => (channels += 1),
    fail: (error) => { throw error; }, ended: ended.signal,
  };
  return { context, session, recorder, approver, clock, host, ended };
}
