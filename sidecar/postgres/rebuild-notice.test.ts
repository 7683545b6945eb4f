import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileDetectors } from '../core/masking/detectors.ts';
import { checkColumnName, checkParameterStatus, isKnownCommandTag, type NoticeScope, rebuildNotice } from './rebuild-notice.ts';

const detectors = compileDetectors([{ columns: null, detectors: ['us-ssn', 'email'], style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }]);
const scope = (change: Partial<NoticeScope> = {}): NoticeScope =>
  ({ masked: true, userText: 'select nme, 5 from People', detectors, catalogNames: (name) => ['public', 'people', 'people_ssn_key'].includes(name), ...change });
const fields = (change: Readonly<Record<string, string>> = {}): Map<string, string> =>
  new Map(Object.entries({ S: 'ERROR', V: 'ERROR', C: '23505', M: 'duplicate key value violates unique constraint "people_ssn_key"', F: 'nbtinsert.c', L: '666', R: '_bt_check_unique', ...change }));
const rebuilt = (change: Readonly<Record<string, string>>, scoped: Partial<NoticeScope> = {}): Record<string, string> => Object.fromEntries(rebuildNotice(fields(change), scope(scoped)));

describe('rebuildNotice in a masked session', () => {
  test('keeps severity, SQLSTATE and catalog names, words the condition, and drops what can hold a value', () => {
    expect(rebuilt({ D: 'Key (ssn)=(536-22-7841) already exists.', H: 'hint', W: 'where', q: 'select 1', p: '3', s: 'public', t: 'people', n: 'people_ssn_key', c: '536-22-7841', d: 'nowhere' })).toEqual({
      S: 'ERROR', V: 'ERROR', C: '23505', M: 'unique violation', s: 'public', t: 'people', n: 'people_ssn_key',
    });
  });

  test('drops a catalog name that a detector hits', () => {
    expect(rebuilt({ t: '536-22-7841' }, { catalogNames: () => true })).not.toHaveProperty('t');
  });

  test.each<readonly [string, Readonly<Record<string, string>>, string, Partial<NoticeScope>?]>([
    ['keeps a class 42 message whose quoted words the user wrote, in any case', { C: '42703', M: 'column "nme" of relation "people" does not exist' }, 'column "nme" of relation "people" does not exist'],
    ['not one with a word the user did not write', { C: '42703', M: 'column "secret" does not exist' }, 'undefined column'],
    ['not one with a number the user did not write', { C: '42601', M: 'bad thing 85123' }, 'syntax error'],
    ['not one with an odd quote', { C: '42601', M: 'syntax error at or near "nme' }, 'syntax error'],
    ['not one from inside a function', { C: '42703', M: 'column "nme" does not exist', W: 'PL/pgSQL function f() line 3' }, 'undefined column'],
    ['not one of an internal query', { C: '42703', M: 'column "nme" does not exist', q: 'select nme' }, 'undefined column'],
    ['not one without a user text', { C: '42703', M: 'column "nme" does not exist' }, 'undefined column', { userText: null }],
    ['not one that a detector hits', { C: '42601', M: 'syntax error at or near "536-22-7841"' }, 'syntax error', { userText: "x '536-22-7841'" }],
    ['no message of another class', { C: '22P02', M: 'invalid input syntax for type integer: "nme"' }, 'invalid text representation'],
    ['no message that a function raised', { C: 'P0001', M: 'alice' }, 'raise exception'],
  ])('%s', (_, change, message, scoped = {}) => {
    expect(rebuilt(change, scoped)['M']).toBe(message);
  });

  test('an SQLSTATE that PostgreSQL does not define, as RAISE can set, becomes raise_exception', () => {
    expect(rebuilt({ C: '53622' })).toEqual({ S: 'ERROR', V: 'ERROR', C: 'P0001', M: 'raise exception' });
  });

  test.each([['1', '1'], ['26', '26'], ['27', undefined], ['0', undefined], ['9999999999', undefined], ['1x', undefined]])('a position of %s is shown as %s', (position, shown) => {
    expect(rebuilt({ P: position })['P']).toBe(shown);
  });

  test('an unknown or missing severity becomes ERROR', () => {
    expect([rebuilt({ V: '536-22-7841' })['S'], rebuilt({ S: 'FEHLER: alice', V: 'NOTICE' })['S']]).toEqual(['ERROR', 'NOTICE']);
  });

  test('never shows a secret, in whatever field it comes', () => {
    const secret = 'K7QX93ZP';
    fc.assert(fc.property(fc.dictionary(fc.constantFrom(...'SVCMDHPpqWstcdnFLR'), fc.string().map((value) => value + secret)), (noise) => {
      expect(JSON.stringify([...rebuildNotice(fields(noise), scope())])).not.toContain(secret);
    }));
  });
});

describe('rebuildNotice in an unmasked session', () => {
  test('drops the server\'s source position only', () => {
    expect(rebuilt({ D: 'Key (id)=(1) already exists.', H: 'h', W: 'w', q: 'q' }, { masked: false })).toEqual({
      S: 'ERROR', V: 'ERROR', C: '23505', M: 'duplicate key value violates unique constraint "people_ssn_key"', D: 'Key (id)=(1) already exists.', H: 'h', W: 'w', q: 'q',
    });
  });
});

describe('checkParameterStatus', () => {
  test.each([
    ['server_version', '15.18 (Debian 15.18-0+deb12u1)'], ['server_version', '18.4'], ['server_version', '19devel'], ['server_encoding', 'UTF8'], ['client_encoding', 'SQL_ASCII'], ['DateStyle', 'ISO, MDY'],
    ['IntervalStyle', 'iso_8601'], ['TimeZone', 'UTC'], ['TimeZone', 'America/Argentina/Buenos_Aires'], ['TimeZone', 'Etc/GMT+12'], ['integer_datetimes', 'on'], ['standard_conforming_strings', 'on'],
    ['in_hot_standby', 'off'], ['default_transaction_read_only', 'off'], ['scram_iterations', '4096'], ['search_path', '"$user", public'],
  ])('passes %s = %s', (name, value) => {
    expect(checkParameterStatus(name, value, detectors)).toBe(value);
  });

  test.each([
    ['TimeZone', '<123-45-6789>0'], ['TimeZone', 'ABC12DEF34'], ['TimeZone', 'alice@example.com'], ['DateStyle', 'alice'], ['search_path', '"536-22-7841"'], ['server_version', '536227841'], ['is_superuser', 'on'],
    ['session_authorization', 'gateway'], ['application_name', 'x'], ['my.secret', 'x'], ['search_path', 'x'.repeat(1001)],
  ])('drops %s = %s', (name, value) => {
    expect(checkParameterStatus(name, value, detectors)).toBeNull();
  });
});

describe('checkColumnName', () => {
  test('replaces a name that a detector hits by its position', () => {
    expect([checkColumnName('ssn', 1, detectors), checkColumnName('536-22-7841', 2, detectors), checkColumnName('536-22-7841', 2, null)]).toEqual(['ssn', 'column_2', '536-22-7841']);
  });
});

describe('isKnownCommandTag', () => {
  test.each([['SELECT 53'], ['INSERT 0 1'], ['UPDATE 0'], ['COPY 3'], ['MERGE 2'], ['BEGIN'], ['CREATE TABLE'], ['DROP MATERIALIZED VIEW'], ['ALTER TEXT SEARCH CONFIGURATION'], ['TRUNCATE TABLE'], ['LOGIN']])('knows %s', (tag) => {
    expect(isKnownCommandTag(tag)).toBe(true);
  });

  test.each([['SELECT 536-22-7841'], ['SELECT'.toLowerCase()], ['UPDATE alice'], ['INSERT 1'], [''], ['CREATE SECRET'], ['SELECT 1\n']])('does not know %j', (tag) => {
    expect(isKnownCommandTag(tag)).toBe(false);
  });
});
