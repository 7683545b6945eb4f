import { expect, test } from '@jest/globals';
import { choice, flag, integer, readEnv, seconds, text } from './env.ts';

const spec = {
  drainSeconds: seconds('SALLYPORT_DRAIN', { default: 25, max: 300 }), port: integer('SALLYPORT_PORT', { min: 0, max: 65_535 }), level: choice('SALLYPORT_LOG', ['error', 'info', 'debug'], { default: 'info' }),
  verbose: flag('SALLYPORT_VERBOSE', { default: false }), name: text('SALLYPORT_NAME', { default: null, max: 5 }),
};

test('values are read and absent ones get their default', () => {
  expect(readEnv(spec, { SALLYPORT_PORT: '8087', SALLYPORT_DRAIN: '30s', SALLYPORT_VERBOSE: 'true', SALLYPORT_NAME: 'n', HOME: '/' }, 'SALLYPORT_'))
    .toEqual({ outcome: 'read', values: { drainSeconds: 30, port: 8087, level: 'info', verbose: true, name: 'n' } });
});

test('every problem is listed, misspelt variables too, and no value is repeated', () => {
  const outcome = readEnv(spec, { SALLYPORT_DRAIN: '5m', SALLYPORT_LOG: 'loud', SALLYPORT_VERBOSE: 'yes', SALLYPORT_NAME: 'canary', SALLYPORT_DRIAN: '5' }, 'SALLYPORT_');
  expect(outcome).toEqual({
    outcome: 'rejected',
    problems: [
      'SALLYPORT_DRAIN: must be a whole number from 0 to 300 seconds', 'SALLYPORT_DRIAN: unknown variable', 'SALLYPORT_LOG: must be one of error, info, debug', 'SALLYPORT_NAME: longer than 5 characters',
      'SALLYPORT_PORT: required', 'SALLYPORT_VERBOSE: must be true or false',
    ],
  });
});

test.each(['-1', '65536', '1e3', '0x10', ' 1', '1.5', '9'.repeat(20)])('a port of "%s" is refused', (raw) => {
  expect(readEnv({ port: integer('P', { min: 0, max: 65_535 }) }, { P: raw }).outcome).toBe('rejected');
});
