import { expect, test } from '@jest/globals';
import { countDenial, createTally } from './tally.ts';

test('a refusal counts under its code, one of a text that could not be read among the parse failures, too', () => {
  const tally = createTally();
  countDenial(tally, 'STATEMENT_DENIED');
  countDenial(tally, 'SYNTAX_ERROR');
  countDenial(tally, 'SYNTAX_ERROR');
  expect([tally.denials.STATEMENT_DENIED, tally.denials.SYNTAX_ERROR, tally.denials.INTERNAL]).toEqual([1, 2, 0]);
  expect(tally.parseFailures).toEqual({ SYNTAX_ERROR: 2, STATEMENT_TOO_LONG: 0, STATEMENT_TOO_DEEP: 0, PARSE_TIMEOUT: 0, ENCODING_INVALID: 0 });
});
