import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { readStartupParameters, splitOptions } from './startup-parameters.ts';

const read = (pairs: Record<string, string>): ReturnType<typeof readStartupParameters> => readStartupParameters(new Map(Object.entries({ user: 'alice', database: 'shop', ...pairs })));
const token = `eyJhbGciOiJSUzI1NiJ9.${'a'.repeat(40)}.${'b'.repeat(40)}`;

describe('startup parameters', () => {
  test('of psql are read, UTF8 being the encoding when none is asked for', () => {
    expect(read({ application_name: 'psql' })).toEqual({
      outcome: 'read', startup: { user: 'alice', database: 'shop', applicationName: 'psql', parameters: new Map([['client_encoding', 'UTF8']]) },
    });
  });

  test('of pgjdbc are read', () => {
    expect(read({ client_encoding: 'UTF8', DateStyle: 'ISO', TimeZone: 'GMT+01:00', extra_float_digits: '2' })).toMatchObject({
      outcome: 'read', startup: { parameters: new Map([['client_encoding', 'UTF8'], ['datestyle', 'ISO'], ['timezone', 'GMT+01:00'], ['extra_float_digits', '2']]) },
    });
  });

  test('in options are read as the server reads them, and a pair beside them wins', () => {
    expect(read({ options: '  -c search_path=a,\\ b --statement-timeout=5s\t-cwork_mem=4MB -c DateStyle=German ', DateStyle: 'ISO' })).toMatchObject({
      outcome: 'read',
      startup: { parameters: new Map([['search_path', 'a, b'], ['statement_timeout', '5s'], ['work_mem', '4MB'], ['datestyle', 'ISO'], ['client_encoding', 'UTF8']]) },
    });
  });

  test.each([
    [{ user: '' }, 'USER_REQUIRED'],
    [{ database: '' }, 'DATABASE_REQUIRED'],
    [{ replication: 'database' }, 'REPLICATION_UNSUPPORTED'],
    [{ replication: 'true' }, 'REPLICATION_UNSUPPORTED'],
    [{ replication: '' }, 'REPLICATION_UNSUPPORTED'],
    [{ client_encoding: 'SJIS' }, 'ENCODING_REFUSED'],
    [{ client_encoding: 'LATIN1' }, 'ENCODING_REFUSED'],
    [{ options: '-c client_encoding=GBK' }, 'ENCODING_REFUSED'],
    [{ role: 'postgres' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ session_authorization: 'postgres' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ standard_conforming_strings: 'off' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ USER: 'x' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ log_statement: 'none' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ debug_print_plan: 'on' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ client_min_messages: 'debug5' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ TimeZone: '<123-45-6789>0' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ TimeZone: 'Nowhere/City' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ options: '-c=' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ options: '-c' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ options: '--=x' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ options: '--' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ options: '-c role=postgres' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ options: '-c work_mem' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ options: '-d 5' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ options: '\\' }, 'STARTUP_PARAMETER_REFUSED'],
    [{ user: 'a'.repeat(256) }, 'STARTUP_PARAMETER_REFUSED'],
  ])('%j is refused with %s', (pairs, code) => {
    expect(read(pairs)).toMatchObject({ outcome: 'refused', denial: { code } });
  });

  test.each([{ client_encoding: 'utf-8' }, { client_encoding: 'UNICODE' }, { client_encoding: 'sql_ascii' }, { replication: 'off' }, { replication: '0' }, { TimeZone: 'Europe/Zurich' }, { TimeZone: 'UTC' }, { database: "a?&@/%' b" }])(
    '%j is accepted', (pairs) => {
      expect(read(pairs)).toMatchObject({ outcome: 'read' });
    },
  );

  test.each(['user', 'database', 'options', 'application_name', 'search_path', token])('a token in %.16s is refused, and the denial does not repeat it', (name) => {
    const refused = read({ [name]: `x${token}` });
    expect(refused).toMatchObject({ outcome: 'refused', denial: { code: 'STARTUP_PARAMETER_REFUSED' } });
    expect(JSON.stringify(refused)).not.toContain('eyJ');
  });

  test('an unknown name is named in the denial, without what a terminal would act on', () => {
    expect(read({ 'a\x1b[31m\u202e': '1' })).toMatchObject({ denial: { message: 'the startup parameter "a?[31m?" is not allowed' } });
  });
});

test('options of any text are split without an end in sight being missed, into settings of allowed form', () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom('-', 'c', '=', ' ', '\\', 'a', '\t'), maxLength: 200 }), (options) => {
    for (const [name] of splitOptions(options)) expect(name === null || name.length > 0).toBe(true);
  }));
});
