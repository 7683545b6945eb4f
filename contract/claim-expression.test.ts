import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileClaimExpression } from './claim-expression.ts';

const token = {
  sub: 'repo:bank/orders', repository: 'bank/orders', ref: 'refs/heads/main', groups: ['sre', 'dba'], level: 3, mfa: true, nothing: null,
  'kubernetes.io': { namespace: 'ci' }, 'https://bank.example/tier': 'gold', roles: [{ name: 'reader', scopes: ['a', 'b'] }, { name: 'writer', scopes: [] }],
};

function verdictOf(source: string, claims: Readonly<Record<string, unknown>> = token): string {
  const expression = compileClaimExpression(source);
  return expression.outcome === 'refused' ? 'refused' : expression.evaluate(claims).outcome;
}

describe('expressions on a token', () => {
  test.each([
    ["claims.repository == 'bank/orders' && claims.ref == 'refs/heads/main'", 'matched'],
    ["claims.repository == 'bank/other'", 'not-matched'],
    ["claims.ref.startsWith('refs/heads/')", 'matched'],
    ["claims.ref.endsWith('main') && claims.ref.contains('heads')", 'matched'],
    ["'dba' in claims.groups", 'matched'],
    ["claims.ref in ['refs/heads/main', 'refs/heads/release']", 'matched'],
    ["claims.groups.exists(g, g.startsWith('db'))", 'matched'],
    ["claims.groups.all(g, size(g) == 3)", 'matched'],
    ["claims.groups.exists_one(g, g == 'sre')", 'matched'],
    ["claims.groups.filter(g, g != 'sre').size() == 1", 'matched'],
    ["claims.roles.exists(r, r.name == 'reader' && r.scopes.exists(s, s == 'b'))", 'matched'],
    ["claims['kubernetes.io'].namespace == 'ci'", 'matched'],
    ["claims['https://bank.example/tier'] == 'gold'", 'matched'],
    ["claims.level >= 3 && claims.level < 4 && claims.level != 5", 'matched'],
    ["claims.level == 3.0", 'matched'],
    ["-claims.level == -3", 'matched'],
    ["claims.level + 1 == 4 && claims.level * 2 - 1 == 5", 'matched'],
    ["claims.mfa ? claims.level > 2 : false", 'matched'],
    ["claims.mfa", 'matched'],
    ["!claims.mfa", 'not-matched'],
    ["claims.groups == ['sre', 'dba']", 'matched'],
    ["claims.groups[0] == 'sre'", 'matched'],
    ["claims.repository.lowerAscii() == 'bank/orders'", 'matched'],
    ["'re' + 'po' == 'repo'", 'matched'],
    ["'namespace' in claims['kubernetes.io']", 'matched'],
    ["claims.ref > 'refs' && claims.ref < 'refz'", 'matched'],
    ["true", 'matched'],
  ])('%s: %s', (source, verdict) => {
    expect(verdictOf(source)).toBe(verdict);
  });
});

describe('claims that the token lacks read as null', () => {
  test.each([
    ["claims.team == 'x'", 'not-matched'],
    ["claims.team != 'x'", 'matched'],
    ["claims.a.b.c == 'x'", 'not-matched'],
    ["claims['a b'].c == 'x'", 'not-matched'],
    ["claims.team == null && claims.nothing == null", 'matched'],
    ["has(claims.team)", 'not-matched'],
    ["has(claims.nothing)", 'matched'],
    ["has(claims.a.b)", 'not-matched'],
    ["has(claims.ref)", 'matched'],
    ["has(claims.toString) || has(claims.constructor)", 'not-matched'],
    ["claims.constructor == null && claims['__proto__'] == null", 'matched'],
    ["'x' in claims.team", 'not-matched'],
    ["claims.team.startsWith('x')", 'failed'],
    ["claims.team.exists(t, t == 'x')", 'failed'],
    ["claims.team > 3", 'failed'],
    ["!claims.team", 'failed'],
    ["claims.team", 'failed'],
    ["claims.team ? true : false", 'failed'],
    ["has(claims.team) && claims.team.startsWith('x')", 'not-matched'],
    ["!has(claims.team) || claims.team.startsWith('x')", 'matched'],
  ])('%s: %s', (source, verdict) => {
    expect(verdictOf(source)).toBe(verdict);
  });
});

describe('a fault of one side', () => {
  test.each([
    ["claims.team.startsWith('x') || true", 'matched'],
    ["true || claims.team.startsWith('x')", 'matched'],
    ["claims.team.startsWith('x') && false", 'not-matched'],
    ["claims.team.startsWith('x') || false", 'failed'],
    ["claims.team.startsWith('x') && true", 'failed'],
    ["claims.ref && true", 'failed'],
    ["claims.level.startsWith('3')", 'failed'],
    ["claims.ref.name == 'x'", 'failed'],
    ["claims.groups[2] == 'x'", 'failed'],
    ["claims.groups[-1] == 'x'", 'failed'],
    ["claims.level + 'x' == '3x'", 'failed'],
    ["size(claims.level) == 1", 'failed'],
    ["claims.ref", 'failed'],
  ])('%s: %s', (source, verdict) => {
    expect(verdictOf(source)).toBe(verdict);
  });
});

describe('what is refused at compile', () => {
  test.each([
    '', 'claims.ref ==', 'user.name == 1', "claims.ref.matches('(a+)+$')", "cel.bind(x, claims.ref, x == 'a')", "claims.groups.map(g, g) == []", "timestamp('2025-01-01T00:00:00Z') == claims.t",
    "{'a': 1} == claims.x", "b'x' == claims.x", '1u == claims.x', "claims.?team == 'x'", '1', "'text'", 'claims.groups.exists(claims, true)', "has(claims['ref'])", 'has(claims)',
    "claims.ref.split('/')[0] == 'refs'", '99999999999999999999 == claims.level', 'claims.level / 0 == 1', '9007199254740993 == claims.level', `claims.ref == '${'x'.repeat(2_048)}'`, `${'!'.repeat(600)}true`,
    `${'('.repeat(200)}true${')'.repeat(200)}`,
  ])('%s', (source) => {
    expect(verdictOf(source)).toBe('refused');
  });
});

describe('an expression that asks for too much fails, and soon', () => {
  const wide = { groups: Array.from({ length: 1_500 }, (_, index) => `g${index}`), text: 'x'.repeat(8_000) };
  test.each([
    ['nested loops', 'claims.groups.exists(a, claims.groups.exists(b, a == b && false))'],
    ['nested loops that || would forgive', 'claims.groups.exists(a, claims.groups.all(b, a != b || true) && false) || true'],
    ['text that doubles', `${'('.repeat(20)}claims.text${' + claims.text)'.repeat(20)} == 'x'`],
    ['long text in a loop', "claims.groups.exists(a, claims.text.contains(a + 'yyyy'))"],
  ])('%s', (_, source) => {
    const expression = compileClaimExpression(source);
    if (expression.outcome === 'refused') throw new Error(expression.problem);
    expect(expression.evaluate(wide)).toEqual({ outcome: 'failed', problem: 'the expression takes too many steps' });
  });

  test('an ordinary loop over 1,500 groups is not too much', () => {
    expect(verdictOf("claims.groups.exists(g, g.startsWith('z'))", wide)).toBe('not-matched');
  });
});

test('any text compiles or is refused, and any token gives a verdict without a throw', () => {
  const piece = fc.constantFrom('claims', '.ref', '.groups', "['a']", ' == ', ' && ', '||', '!', '(', ')', "'x'", '3', 'null', '.exists(g, g', '.startsWith(', 'has(', ' in ', '?', ':', '[', ']', ',', '"', '\\', '-');
  const source = fc.oneof(fc.string({ maxLength: 60 }), fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join('')));
  fc.assert(fc.property(source, fc.dictionary(fc.constantFrom('ref', 'groups', 'a'), fc.jsonValue({ maxDepth: 2 })), (text, claims) => {
    expect(['refused', 'matched', 'not-matched', 'failed']).toContain(verdictOf(text, claims as Readonly<Record<string, unknown>>));
  }), { numRuns: 2_000 });
});

test('no problem holds a value of the token', () => {
  const expression = compileClaimExpression('claims.secret.startsWith(claims.other)');
  expect(JSON.stringify(expression.outcome === 'compiled' ? expression.evaluate({ secret: 'canary', other: 7 }) : expression)).not.toContain('canary');
});
