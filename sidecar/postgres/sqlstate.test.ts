import { expect, test } from '@jest/globals';

import { deny, type ErrorCode, errorTable } from '../core/errors.ts';
import { wordDenial } from './sqlstate.ts';

test.each([
  ['TLS_REQUIRED', '28000'], ['TOKEN_EXPIRED', '28000'], ['ACCESS_DENIED', '42501'], ['STATEMENT_DENIED', '42501'], ['APPROVAL_DENIED', '42501'], ['TARGET_UNREACHABLE', '08001'],
  ['CONFIG_NOT_LOADED', '57P03'], ['RECORDER_FAILED', '58030'], ['TOO_MANY_CONNECTIONS', '53300'], ['HOLD_CANCELLED', '57014'], ['APPROVAL_EXPIRED', '57014'],
  ['SESSION_REVOKED', '57P01'], ['SESSION_IDLE', '57P05'], ['SYNTAX_ERROR', '42601'], ['STATEMENT_TOO_LONG', '54000'], ['STATEMENT_TOO_DEEP', '54001'],
  ['REPLICATION_UNSUPPORTED', '0A000'], ['STATEMENT_INVALIDATED', '26000'], ['APPROVAL_UNAVAILABLE', '58000'], ['PROTOCOL_VIOLATION', '08P01'],
] as const)('%s is %s', (code, sqlstate) => {
  expect(wordDenial(deny(code)).sqlstate).toBe(sqlstate);
});

test('at login a recorder or a shutdown means: not now', () => {
  expect([wordDenial(deny('RECORDER_FAILED'), 'login').sqlstate, wordDenial(deny('DRAINING'), 'login').sqlstate]).toEqual(['57P03', '57P03']);
});

test('no code is worded with a SQLSTATE that drivers retry, and each text carries its code', () => {
  for (const code of Object.keys(errorTable) as ErrorCode[]) {
    for (const phase of ['login', 'session'] as const) {
      const worded = wordDenial(deny(code), phase);
      expect(worded.sqlstate).toMatch(/^[0-9A-Z]{5}$/);
      expect(['40001', '40P01', '08006', '08003']).not.toContain(worded.sqlstate);
      expect(worded.message).toContain(`[${code}]`);
    }
  }
});
