import { execFileSync } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { anSshBench, type SshBench } from '../../tools/testkit/ssh-context.ts';
import type { ApprovalAsk } from '../core/ports.ts';
import { wrapForBash } from '../core/shell/quote.ts';
import type { ChannelServers } from './channel-servers.ts';
import type { ClientSession } from './client-session.ts';
import { serveExec } from './exec.ts';

/** A channel of a client that says nothing; `ended` is what it was told at last. */
function aChannel(): { readonly channel: ClientSession; readonly ended: { lines: readonly string[]; status: number } } {
  const stream = Object.assign(new PassThrough(), { stderr: new PassThrough(), exit: () => undefined });
  stream.on('data', () => undefined);
  stream.stderr.on('data', () => undefined);
  const ended = { lines: [] as readonly string[], status: -1 };
  const channel = {
    number: 1, stream, terminal: null, environment: [], droppedEnvironment: [], wantsRawShell: false, closed: new AbortController().signal, listen: () => undefined, tell: () => undefined,
    finish: (lines: readonly string[], status: number) => Object.assign(ended, { lines, status }),
  };
  return { channel: channel as unknown as ClientSession, ended };
}

/** Says yes to everything, at once. */
function approveAll(bench: SshBench): void {
  bench.approver.ask = (ask: ApprovalAsk) => {
    bench.approver.asks.push(ask);
    const outcome = { outcome: 'approved', request: 'areq-1', requestUid: 'u', grant: null, approvers: [] } as const;
    return Promise.resolve({ outcome: 'pending', pending: { name: 'areq-1', uid: 'u', decideByMs: 0, outcome: Promise.resolve(outcome), use: () => Promise.resolve(true), withdraw: () => Promise.resolve() } });
  };
}

const servers = { transfer: () => Promise.reject(new Error('not a transfer')) } as unknown as ChannelServers;
const opaque = { rules: [
  { name: 'all', action: 'Allow', ssh: { commands: ['echo **', 'ls **', 'cat **', 'a **'] } },
  { name: 'opaque', action: 'RequireApproval', ssh: { unknown: true }, approval: { groups: ['leads'] } },
] } as const;

const pieces = fc.constantFrom('echo', 'ls', 'cat', 'a', ' ', '  ', '\t', '\n', ';', '&&', '|', '$(', ')', '`', '"', "'", '\\', '$X', '~', '*', '{a,b}', '#', '>', '<<E', '\u00e9', '\u202e', '\u{1f600}', '-n', '--', '=', '!', '\u0000', '\u0007', '\ufffd');
const texts = fc.array(pieces, { maxLength: 12 }).map((parts) => `echo ${parts.join('')}`);

describe('a text that a client sends', () => {
  test.each([false, true])('is the text that is approved and the text that the login shell gets (wrap: %s), byte for byte, of 10,000', async (wrap) => {
    const bench = anSshBench({ opaque }, { loginShell: { type: 'Bash', wrap } });
    approveAll(bench);
    let [sent, refused] = [0, 0];
    for (const text of fc.sample(texts, { numRuns: 5_000, seed: wrap ? 7 : 8 })) {
      const [before, asked] = [bench.host.texts.length, bench.approver.asks.length];
      const { channel, ended } = aChannel();
      await serveExec(bench.context, channel, text, servers);
      const got = bench.host.texts.slice(before);
      if (got.length === 0) {
        refused += 1;
        expect(ended.status).toBe(126);
        continue;
      }
      sent += 1;
      expect(got).toEqual([wrap ? wrapForBash(text) : text]);
      for (const ask of bench.approver.asks.slice(asked)) expect(ask.statement?.text).toBe(text);
    }
    expect([sent > 500, refused > 500]).toEqual([true, true]);
  }, 60_000);

  test('is what bash reads out of its wrap', () => {
    for (const text of fc.sample(texts.filter((text) => !text.includes('\u0000')), { numRuns: 100, seed: 9 })) {
      const wrapped = wrapForBash(text).replace(/^exec bash --noprofile --norc -c /, 'printf %s ');
      expect(execFileSync('bash', ['-c', wrapped], { encoding: 'utf8' })).toBe(text);
    }
  });

  test.each(['echo a\u0000b', 'echo a\u0007', 'echo \ufffd', `echo ${'x'.repeat(65_536)}`])('is refused when no shell should be given it (%#): its bytes are on no record', async (text) => {
    const bench = anSshBench({ opaque });
    const { channel, ended } = aChannel();
    await serveExec(bench.context, channel, text, servers);
    expect([ended.status, ended.lines[0], bench.host.texts, bench.recorder.events.map(({ code, reason, facts }) => [code, reason, facts['text']])]).toEqual([
      126, 'sallyport: the command is not text that a shell would take [COMMAND_INVALID]', [], [['exec.denied', 'COMMAND_INVALID', '(a text that no shell takes)']],
    ]);
  });
});
