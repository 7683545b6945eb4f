import { deny } from '../errors.ts';
import type { Decision, SshCommand } from './decision.ts';
import type { Permit } from './permit.ts';
import type { ReviewInput } from './review-command.ts';

/** Decides on one SSH command (D1, ssh.md 8). Pure; the order of policies, rules and items has no meaning. */
export function reviewSshCommand(_facts: SshCommand, _permit: Permit, _input: ReviewInput): Decision {
  return { effect: 'Deny', by: null, denial: deny('STATEMENT_NOT_ALLOWED') };
}
