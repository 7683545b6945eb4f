import { expect, test } from '@jest/globals';
import { aProvider } from '../../../tools/testkit/policies.ts';
import { findClaim, mapClaims } from './map-claims.ts';

const base = { sub: 'u-1', exp: 1_000 };

test.each([
  ['a plain name', { email: 'a' }, 'email', 'a'],
  ['a path', { realm_access: { roles: ['r'] } }, 'realm_access.roles', ['r']],
  ['a literal name with dots before a path', { 'a.b': 1, a: { b: 2 } }, 'a.b', 1],
  ['a name that is a URL', { 'https://bank.example/groups': ['g'] }, 'https://bank.example/groups', ['g']],
  ['a path through a name with dots', { 'kubernetes.io': { namespace: 'ci' } }, 'kubernetes.io.namespace', 'ci'],
  ['the longest literal name first', { 'a.b': { c: 1 }, a: { 'b.c': 2 } }, 'a.b.c', 1],
  ['nothing beyond a text', { a: 'text' }, 'a.length', undefined],
  ['nothing in a list', { a: ['x'] }, 'a.0', undefined],
  ['nothing that every object has', { a: {} }, 'a.constructor', undefined],
  ['no prototype', {}, '__proto__', undefined],
])('a claim is found: %s', (_, claims, path, value) => {
  expect(findClaim(claims, path)).toEqual(value);
});

test.each([
  ['a list', ['a', 'b'], ['g:a', 'g:b']],
  ['one name', 'a', ['g:a']],
  ['a name twice', ['a', 'a'], ['g:a']],
  ['no list', undefined, []],
  ['null', null, []],
  ['an empty list', [], []],
  ['a name with a comma is one name', 'a,b', ['g:a,b']],
])('groups: %s', (_, groups, expected) => {
  expect(mapClaims({ ...base, email: 'ann', ...(groups === undefined ? {} : { groups }) }, aProvider({ groupsPrefix: 'g:' }))).toMatchObject({ identity: { groups: expected } });
});

test('more than 1,000 groups are refused, not cut', () => {
  const many = (count: number): string => mapClaims({ ...base, email: 'ann', groups: Array.from({ length: count }, (_, index) => `g${index}`) }, aProvider()).outcome;
  expect([many(1_000), many(1_001)]).toEqual(['mapped', 'denied']);
});

test('a claim that must give the uid is required', () => {
  const provider = aProvider({ uidClaim: 'oid' });
  expect(mapClaims({ ...base, email: 'ann', oid: 'o-1' }, provider)).toMatchObject({ identity: { uid: 'o-1' } });
  expect(mapClaims({ ...base, email: 'ann' }, provider)).toMatchObject({ denial: { code: 'TOKEN_CLAIM_MISSING' } });
});

test('the proof of an address matters only where the address is the name', () => {
  const unverified = { ...base, email: 'ann', email_verified: false };
  expect(mapClaims(unverified, aProvider({ usernameClaim: 'sub' })).outcome).toBe('mapped');
  expect(mapClaims({ ...unverified, email_verified: true }, aProvider()).outcome).toBe('mapped');
});

test('a provider without a group claim gives no groups', () => {
  expect(mapClaims({ ...base, email: 'ann', groups: ['a'] }, aProvider({ groupsClaim: null }))).toMatchObject({ identity: { groups: [] } });
});
