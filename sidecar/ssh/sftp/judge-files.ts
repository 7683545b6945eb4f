import { type Denial, deny } from '../../core/errors.ts';
import type { Decision, SshItem } from '../../core/policy/decision.ts';
import type { FileOperation } from '../../core/ssh-files/sftp-demand.ts';
import { gateCommand } from '../command-gate.ts';
import type { SshContext } from '../context.ts';
import { redactedFacts } from '../gate-facts.ts';
import { masksText } from '../masks-text.ts';
import type { FileItem } from './resolve-demand.ts';

/** One operation on files, as it is judged. */
export interface FileAsk {
  /** Bound by an approval, shown and recorded. */
  readonly text: string;
  /** Name of the request, e.g. `OPEN`. */
  readonly action: string;
  readonly items: readonly FileItem[];
  readonly shownPaths: readonly string[];
  /** Recorded before it is forwarded; otherwise only a refusal or a hold is. */
  readonly intent: boolean;
  /** Called once when it begins to wait for people. */
  readonly held: () => void;
  /** False: whatever needs an approval is refused now. */
  readonly mayHold?: boolean;
}

/** What came of it. */
export type Judged =
  | { readonly outcome: 'permitted'; /** Null where no intent was recorded. */ readonly operation: number | null; readonly wasHeld: boolean; readonly maxBytes: number | null; readonly operations: readonly FileOperation[] }
  | { readonly outcome: 'refused'; readonly denial: Denial };

/** Decides on the operations of one channel and keeps their record. Its promises reject when the record cannot be written: then the session ends. */
export interface FileJudge {
  judge(ask: FileAsk): Promise<Judged>;
  /** An operation that an earlier answer covers: recorded, not judged. */
  recordCovered(ask: { readonly text: string; readonly action: string; readonly operation: FileOperation; readonly paths: readonly string[] }): Promise<number>;
  /** The result of a recorded operation; `outcome` is Completed, Failed, Unknown or NotForwarded. */
  closed(operation: number, facts: Readonly<Record<string, unknown>>): void;
  /** The size limit of a rule stopped a file. */
  limited(path: string, operation: number): Promise<void>;
  /** Grows when the permit is replaced or grants change. */
  permitVersion(): number;
  /** Whether policy denies by now what it permitted when a file was opened. */
  isDenied(path: string, operations: readonly FileOperation[]): boolean;
  /** Content went through. */
  moved(bytes: number): void;
  /** Refuses a path that is no text, on record. */
  refuseUnreadable(action: string): Promise<Denial>;
}

/** Refusals of one channel that its user reads in words: some clients never read what comes beside the data, and it would fill their window. */
const maxToldRefusals = 16;

/** A file that is larger than its rule allows. */
export function limitDenial(): Denial {
  return deny('FILE_DENIED', { message: 'the file is larger than the rule allows' });
}

/** Judges the files of one channel by the session's policy. `tell` writes lines to the channel's stderr. */
export function createFileJudge(context: SshContext, channel: number, io: { readonly tell: (lines: readonly string[]) => void; readonly cancelled: AbortSignal }): FileJudge {
  const tellRefusal = refusalTeller(io.tell);
  const refused = async (denial: Denial, action: string, facts: Readonly<Record<string, unknown>>): Promise<Denial> => {
    context.totals.denied++;
    await context.recorder.record({ code: 'file.denied', channel, operation: null, decision: null, approvals: [], request: null, reason: denial.code, facts: redactedFacts(context, { operation: action.toLowerCase(), ...facts }) });
    tellRefusal(denial, facts);
    return denial;
  };
  return {
    async judge(ask) {
      const items: readonly SshItem[] = [...ask.items, ...readableByMove(context, ask)].map((item) => ({ kind: 'file', ...item }));
      const decision = decideNow(context, items);
      const operations = [...new Set(ask.items.map((item) => item.operation))];
      if (!ask.intent && passesUnrecorded(context, decision)) return { outcome: 'permitted', operation: null, wasHeld: false, maxBytes: maxBytesOf(decision), operations };
      const facts = { operation: wordAction(ask.action), path: ask.shownPaths[0] ?? '', ...(ask.shownPaths.length > 1 ? { paths: ask.shownPaths } : {}), access: operations };
      if (decision.effect === 'RequireApproval' && ask.mayHold === false) return { outcome: 'refused', denial: await refused(deny('TOO_MANY_REQUESTS'), ask.action, facts) };
      const gated = await gateCommand(
        context,
        { kind: 'File', channel, text: ask.text, items, cwd: null, pty: false, environment: [], stdin: false, wrap: false, byteExact: true, facts },
        { tell: (lines) => { ask.held(); io.tell(lines); }, cancelled: io.cancelled, hasInput: () => false },
      );
      if (gated.outcome === 'permitted') return { outcome: 'permitted', operation: gated.operation, wasHeld: gated.wasHeld, maxBytes: gated.terms.maxBytes, operations };
      if (!operations.every((operation) => operation === 'List')) tellRefusal(gated.denial, facts);
      return { outcome: 'refused', denial: gated.denial };
    },
    recordCovered: ({ text, action, operation, paths }) => context.recorder.record({
      code: 'file.intent', channel, operation: null, decision: null, approvals: [], request: null, reason: null, facts: redactedFacts(context, { operation: wordAction(action), path: paths[0] ?? '', access: [operation], request: text, covered: 'by the decision that opened the file' }),
    }),
    closed: (operation, facts) => context.recorder.note({ code: 'file.result', channel, operation, decision: null, approvals: [], request: null, reason: typeof facts['code'] === 'string' ? facts['code'] : null, facts }),
    limited: async (path, operation) => {
      await refused(limitDenial(), 'limit', { path, of_operation: operation });
    },
    permitVersion: () => context.session.permitVersion,
    isDenied(path, operations) {
      const decision = decideNow(context, operations.map((operation) => ({ kind: 'file', operation, path, bytes: null })));
      // An approval covered this very file: what asks for one now does not close it.
      return decision.effect === 'Deny' || (decision.effect === 'Allow' && !passesUnrecorded(context, decision));
    },
    moved(bytes) {
      context.totals.bytes += bytes;
      context.session.lastActivityMs = context.clock.monotonicMs();
    },
    refuseUnreadable: (action) => refused(deny('FILE_DENIED', { message: 'a path that is not UTF-8 text is covered by no rule' }), action, { path: '' }),
  };
}

/** The decision on items under the permit and the grants of now. */
export function decideNow(context: SshContext, items: readonly SshItem[]): Decision {
  const { session } = context;
  return session.decide({ kind: 'File', account: context.account, items }, context.clock.now(), context.approver.grants(session.subject, session.permit.target.name, session.identity));
}

/** What gets another name must not become readable by it: where the new one may be read, so must the old one. Writing was asked about for both. */
function readableByMove(context: SshContext, { action, items }: FileAsk): readonly FileItem[] {
  const next = items.at(-1);
  if (next === undefined || !['RENAME', 'POSIX_RENAME', 'HARDLINK'].includes(action)) return [];
  const read = decideNow(context, [{ kind: 'file', operation: 'Read', path: next.path, bytes: null }]);
  return read.effect === 'Deny' ? [] : items.slice(0, -1).map(({ path }) => ({ operation: 'Read', path, bytes: null, below: 'Moved' }));
}

function passesUnrecorded(context: SshContext, decision: Decision): boolean {
  return decision.effect === 'Allow' && (decision.terms?.unmasked === true || !masksText(context.session.permit));
}

function maxBytesOf(decision: Decision): number | null {
  return decision.effect === 'Allow' ? (decision.terms?.maxBytes ?? null) : null;
}

/** The record's words for what changes a file, one for each way to do it. */
function wordAction(action: string): string {
  return ({ POSIX_RENAME: 'rename', HARDLINK: 'link' } as Readonly<Record<string, string | undefined>>)[action] ?? action.toLowerCase();
}

function refusalTeller(tell: (lines: readonly string[]) => void): (denial: Denial, facts: Readonly<Record<string, unknown>>) => void {
  let told = 0;
  return (denial) => {
    if (told++ >= maxToldRefusals) return;
    tell([`sallyport: ${denial.message}${denial.detail === null ? '' : ` by ${denial.detail}`} [${denial.code}]`]);
  };
}
