import { describe, expect, test } from '@jest/globals';
import { allowAll, aRelay, aStatement, type RelayBench } from '../../../tools/testkit/relay-context.ts';
import type { ShortPolicy } from '../../../tools/testkit/policies.ts';
import { deny } from '../../core/errors.ts';
import type { StatementFacts } from '../../core/sql/statement-facts.ts';
import { judge, resolveIndirection } from './judge.ts';
import type { Portal, PreparedStatement } from './statements.ts';

const denyAll: ShortPolicy = { rules: [{ name: 'nothing', action: 'Deny', statements: ['Select', 'Delete'], message: 'not today' }, { name: 'all', action: 'Allow' }] };
const relayWith = (policy: ShortPolicy = allowAll, masked = false): RelayBench => aRelay({ policies: { oncall: policy }, masked });
const prepared = (facts: StatementFacts | null, name = 'p'): PreparedStatement => ({ name, text: '', exactText: Buffer.alloc(0), parameterTypes: [], facts, inspectionKey: 'v1 public', bySql: false, fields: undefined, plans: new Map() });
const portal = (facts: StatementFacts): Portal => ({ name: 'c', statement: prepared(facts), bound: facts, parameters: [], resultFormats: [], hold: false, execution: null, fields: undefined });
const codeOf = (relay: RelayBench, facts: StatementFacts): string | null => {
  const verdict = judge(relay.context, facts);
  return verdict.outcome === 'refuse' ? verdict.denial.code : null;
};

describe('one statement', () => {
  test('that may never run is refused before the policies are asked', () => {
    const verdict = judge(relayWith().context, aStatement('set x = 1', { refusal: deny('SETTING_REFUSED') }));
    expect(verdict).toMatchObject({ outcome: 'refuse', decision: null, denial: { code: 'SETTING_REFUSED' } });
  });

  test('that cannot be masked is refused in a masked session only', () => {
    const facts = aStatement('select 1', { masking: { outcome: 'refused', denial: deny('MASKING_UNPROVEN') } });
    expect([codeOf(relayWith(allowAll, true), facts), codeOf(relayWith(), facts)]).toEqual(['MASKING_UNPROVEN', null]);
  });

  test('that a rule denies names policy, rule and the rule’s words', () => {
    expect(judge(relayWith(denyAll).context, aStatement('select 1'))).toMatchObject({ outcome: 'refuse', denial: { code: 'STATEMENT_DENIED', message: 'statement denied by policy "oncall", rule "nothing"', detail: 'not today' } });
    expect(judge(relayWith({ rules: [{ name: 'nothing', action: 'Deny', statements: ['Select'] }] }).context, aStatement('select 1'))).toMatchObject({ denial: { detail: 'policy "oncall", rule "nothing"' } });
  });

  test('is decided once, and anew when the permit changes', () => {
    const relay = relayWith();
    const facts = aStatement('select 1');
    const first = judge(relay.context, facts);
    expect(judge(relay.context, facts)).toEqual(first);
    relay.context.session.replacePermit(relayWith(denyAll).context.session.permit);
    expect(codeOf(relay, facts)).toBe('STATEMENT_DENIED');
  });
});

describe('a statement that names another', () => {
  test('EXECUTE is judged as what it runs, its masking included; the same pair gives the same facts', () => {
    const relay = relayWith(denyAll);
    const inner = aStatement('delete from t', { masking: { outcome: 'columns', columns: [null] } });
    relay.context.statements.confirm('p', prepared(inner));
    const outer = aStatement('execute p');
    const facts = resolveIndirection(relay.context, outer);
    expect(facts).toMatchObject({ kind: 'Delete', runs: inner, masking: { outcome: 'columns' }, objects: ['public.t', 'public.t'] });
    expect([codeOf(relay, facts), resolveIndirection(relay.context, outer)]).toEqual(['STATEMENT_DENIED', facts]);
  });

  test('EXPLAIN EXECUTE and CREATE TABLE AS EXECUTE keep their own kind, and carry the pairs of what they run', () => {
    const relay = relayWith();
    relay.context.statements.confirm('p', prepared(aStatement('select * from t', { masking: { outcome: 'columns', columns: [{ rule: 0, bare: true }] } })));
    for (const kind of ['Explain', 'Create'] as const) {
      const facts = resolveIndirection(relay.context, aStatement('execute p', { kind }));
      expect([facts.kind, facts.pairs.map((pair) => pair.class)]).toEqual([kind, ['Select', 'Select']]);
    }
  });

  test.each(['Explain', 'Create'] as const)('%s … EXECUTE of masked columns is refused in a masked session: a plan or another table would show them', (kind) => {
    const relay = relayWith(allowAll, true);
    relay.context.statements.confirm('p', prepared(aStatement('select * from t', { masking: { outcome: 'columns', columns: [{ rule: 0, bare: true }] } })));
    expect(resolveIndirection(relay.context, aStatement('execute p', { kind })).refusal).not.toBeNull();
    relay.context.statements.confirm('q', prepared(aStatement('select * from t')));
    expect(resolveIndirection(relay.context, aStatement('execute q', { kind })).refusal).toBeNull();
  });

  test('EXECUTE of a name that this session does not know is refused', () => {
    expect(codeOf(relayWith(), resolveIndirection(relayWith().context, aStatement('execute nope')))).toBe('STATEMENT_INVALIDATED');
  });

  test('FETCH is judged as its cursor; of one that is not known only where nothing is masked, as a read of anything', () => {
    const relay = relayWith(denyAll);
    relay.context.portals.confirm('c', portal(aStatement('delete from t')));
    expect(resolveIndirection(relay.context, aStatement('fetch c'))).toMatchObject({ kind: 'Delete' });
    expect(resolveIndirection(relay.context, aStatement('fetch other'))).toMatchObject({ kind: 'Select', pairs: [{ class: 'Select', object: '*' }], refusal: null });
    expect(resolveIndirection(relayWith(allowAll, true).context, aStatement('fetch other')).refusal?.code).toBe('MASKING_UNPROVEN');
  });

  test('FETCH of a cursor whose names mean something else by now is refused', () => {
    const relay = relayWith();
    const cursor = portal(aStatement('select * from t'));
    cursor.statement.facts = aStatement('select * from harmless');
    relay.context.portals.confirm('c', cursor);
    expect(resolveIndirection(relay.context, aStatement('fetch c')).refusal?.code).toBe('STATEMENT_INVALIDATED');
  });

  test('a refusal of what it runs is its own', () => {
    const relay = relayWith();
    relay.context.statements.confirm('p', prepared(aStatement('select 1', { refusal: deny('STATEMENT_INVALIDATED') })));
    expect(codeOf(relay, resolveIndirection(relay.context, aStatement('execute p')))).toBe('STATEMENT_INVALIDATED');
  });
});
