import { describe, expect, test } from '@jest/globals';
import { judgeSetting } from './settings.ts';

const outcome = (name: string, value: string | null): string => {
  const judgement = judgeSetting(name, value);
  return judgement.outcome === 'class' ? judgement.class : judgement.outcome === 'refused' ? judgement.denial.code : 'free';
};

describe('standard_conforming_strings can only be on', () => {
  test.each(['on', 'ON', 'true', 't', 'tr', 'yes', 'y', '1', ' on '])('%s', (value) => { expect(outcome('standard_conforming_strings', value)).toBe('free'); });
  test.each(['off', 'of', 'false', 'f', 'no', 'n', '0', '', 'o', 'onn', 'on\n;', null])('not %s', (value) => { expect(outcome('Standard_Conforming_Strings', value)).toBe('SETTING_REFUSED'); });
});

describe('time zones are IANA names', () => {
  test.each(['UTC', 'utc', 'GMT', 'Europe/Zurich', 'US/Pacific', 'Etc/GMT+5', 'America/Argentina/Buenos_Aires'])('%s', (value) => { expect(outcome('TimeZone', value)).toBe('free'); });
  test.each(['<123-45-6789>0', 'AAA9BBB', '+02:00', '-5', 'INTERVAL 1', 'Secret/Word', '', 'UTC; x', 'Europe/Zurich ', null])('not %s', (value) => { expect(outcome('timezone', value)).toBe('SETTING_REFUSED'); });
});

test.each([
  ['client_encoding', 'utf8', 'free'], ['client_encoding', 'UTF-8', 'free'], ['client_encoding', 'SQL_ASCII', 'free'], ['client_encoding', 'BIG5', 'SETTING_REFUSED'], ['client_encoding', null, 'SETTING_REFUSED'],
  ['search_path', 'app', 'free'], ['search_path', null, 'SETTING_REFUSED'], ['role', 'bob', 'SetRole'], ['ROLE', null, 'SetRole'], ['session_authorization', 'bob', 'SetRole'],
  ['enable_seqscan', 'off', 'free'], ['work_mem', '1GB', 'free'], ['application_name', null, 'free'], ['log_statement', 'none', 'Set'], ['app.tenant', null, 'Set'], ['session_preload_libraries', 'x', 'Set'],
])('%s = %s is %s', (name, value, expected) => {
  expect(outcome(name, value)).toBe(expected);
});
