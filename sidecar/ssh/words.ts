import { printableText } from '../../contract/printable-text.ts';
import type { Denial } from '../core/errors.ts';
import type { HoldNotice } from '../core/session/approval-hold.ts';

/** What the user reads of a refusal: what, by which policy and rule, the code, and what to do next. Lines without their ends, safe for a terminal. */
export function denialLines(denial: Denial): readonly string[] {
  const detail = denial.detail === null || denial.message.includes(denial.detail) ? '' : denial.detail.startsWith('policy "') ? ` by ${denial.detail}` : `: ${denial.detail}`;
  return [`sallyport: ${denial.message}${detail} [${denial.code}]`, `hint: ${denial.hint}`].map((line) => printableText(line, { oneLine: true }));
}

/**
 * What the user reads while something waits for an approval: at once, every 30 s, and when it goes on.
 *
 * @param what `held` for a command, `session held` for the session itself.
 */
export function holdLines(notice: HoldNotice, nowMs: number, what: 'held' | 'session held' = 'held'): readonly string[] {
  const { request } = notice;
  const rule = notice.by.rule === null ? `policy "${notice.by.policy}"` : `rule "${notice.by.rule}"`;
  const lines = {
    held: [`sallyport: ${what}: ${rule} needs ${notice.required} of ${notice.groups.join(', ')}; ${request}; decide within ${span(notice.decideByMs - nowMs)}; Ctrl-C cancels`, `hint: ${notice.howToDecide}`],
    waiting: [`sallyport: still waiting for ${request}; ${span(notice.decideByMs - nowMs)} left`],
    released: [`sallyport: approved: ${request}`],
  }[notice.kind];
  return lines.map((line) => printableText(line, { oneLine: true }));
}

/** `15m`, `2h`, `45s`. */
function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds}s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes}m` : `${Math.round(minutes / 60)}h`;
}
