import { expect, test } from '@jest/globals';
import { deny } from '../core/errors.ts';
import { compileDetectors } from '../core/masking/detectors.ts';
import { showDenial } from './show-denial.ts';

const detectors = compileDetectors([{ columns: null, detectors: ['us-ssn', 'email'], style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }]);

test.each([
  ['a name', 'relation "orders_2024" is not known', 'relation "orders_2024" is not known'],
  ['a name with blanks', 'relation "Order Details" is not known', 'relation "Order Details" is not known'],
  ['a date in the place of a name', 'column "1980-02-03" cannot be resolved', 'column "********" cannot be resolved'],
  ['a number in the place of a name', 'relation "85123" is not known', 'relation "********" is not known'],
  ['a number without quotes', 'the limit is 10000', 'the limit is 10000'],
])('the detail of a refusal keeps or hides %s', (_name, detail, shown) => {
  expect(showDenial(deny('MASKING_UNPROVEN', { detail }), detectors).detail).toBe(shown);
});

test('a token of the parser that holds quotes is hidden whole', () => {
  expect(showDenial(deny('SYNTAX_ERROR', { message: 'syntax error at or near ""1980-02-03""' }), null).message).toBe('syntax error at or near "********"');
});

test('words in which a detector finds a value give way to the words of the code', () => {
  const shown = showDenial(deny('STATEMENT_NOT_ALLOWED', { message: 'no rule allows Select on public.alice@example.com', detail: 'see 536-22-7841' }), detectors);
  expect([shown.message, shown.detail]).toEqual(['no rule allows this statement', null]);
});
