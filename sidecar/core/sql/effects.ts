import type { StatementEffect } from './statement-facts.ts';
import { textOf, type TreeNode } from './parse-tree.ts';

/** The effect of a transaction statement; `other` for two-phase commit. */
export function transactionEffect(transaction: TreeNode): StatementEffect {
  const what = transactionKinds[textOf(transaction['kind'])] ?? 'other';
  return { kind: 'transaction', what };
}

/** True for PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED. */
export function isTwoPhase(transaction: TreeNode): boolean {
  return ['TRANS_STMT_PREPARE', 'TRANS_STMT_COMMIT_PREPARED', 'TRANS_STMT_ROLLBACK_PREPARED'].includes(textOf(transaction['kind']));
}

/** The effect of DISCARD. */
export function discardEffect(discard: TreeNode): StatementEffect {
  return { kind: 'discard', what: discardTargets[textOf(discard['target'])] ?? 'ALL' };
}

/** The name of an object in a statement, null when it stands for all of them. */
export function nameOrAll(name: unknown): string | null {
  const text = textOf(name);
  return text === '' ? null : text;
}

type TransactionWhat = Extract<StatementEffect, { readonly kind: 'transaction' }>['what'];

const transactionKinds: Readonly<Record<string, TransactionWhat>> = {
  TRANS_STMT_BEGIN: 'begin', TRANS_STMT_START: 'begin', TRANS_STMT_COMMIT: 'commit', TRANS_STMT_ROLLBACK: 'rollback',
  TRANS_STMT_SAVEPOINT: 'savepoint', TRANS_STMT_RELEASE: 'release', TRANS_STMT_ROLLBACK_TO: 'rollback-to',
};

const discardTargets: Readonly<Record<string, 'ALL' | 'PLANS' | 'SEQUENCES' | 'TEMP'>> = {
  DISCARD_ALL: 'ALL', DISCARD_PLANS: 'PLANS', DISCARD_SEQUENCES: 'SEQUENCES', DISCARD_TEMP: 'TEMP',
};
