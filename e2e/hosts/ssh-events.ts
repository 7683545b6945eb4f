import { auditEvents } from './clients.ts';
import { sallyport } from './sallyport.ts';
import type { SshWorld } from './ssh-world.ts';

/** One event of an SSH session, as tests look at it. */
export interface SeenEvent {
  readonly code: string;
  readonly session: string;
  readonly channel: number;
  /** Number of the operation in its session; '0' of an event that belongs to none. */
  readonly operation: string;
  /** The command's text, where the event has it. */
  readonly text: string | null;
  /** Error code of a refusal. */
  readonly reason: string | null;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly line: string;
}

interface Line {
  readonly status_code?: string;
  readonly process?: { readonly cmd_line?: string };
  readonly evidence?: { readonly operation?: { readonly n: string; readonly channel: number }; readonly facts?: Readonly<Record<string, unknown>> };
}

/** All events of SSH sessions in a world's log, oldest first. Results are written within 50 ms: they are waited for. */
export async function sshEvents(world: Pick<SshWorld, 'dataDirectory'>): Promise<readonly SeenEvent[]> {
  await new Promise((resolve) => setTimeout(resolve, 120));
  return auditEvents(world.dataDirectory).flatMap(({ code, session, line }) => {
    if (!/^(?:exec|shell|file|forward|channel|command|session|auth)\./.test(code)) return [];
    const parsed = JSON.parse(line) as Line & { readonly event?: Line };
    const { status_code: reason = null, process, evidence } = parsed.event ?? parsed;
    return [{ code, session, channel: evidence?.operation?.channel ?? 0, operation: evidence?.operation?.n ?? '0', text: process?.cmd_line ?? null, reason, facts: evidence?.facts ?? {}, line }];
  });
}

/** What `sallyport evidence verify` says of a world's records: exit status and text. */
export function verifyEvidence(world: Pick<SshWorld, 'dataDirectory'>): ReturnType<typeof sallyport> {
  return sallyport(['audit', 'verify', '--data', world.dataDirectory]);
}
