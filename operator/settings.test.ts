import { describe, expect, test } from '@jest/globals';
import { parseSettings, readSettings } from './settings.ts';

const problemsOf = (value: unknown): readonly string[] => {
  const outcome = parseSettings(JSON.stringify(value));
  return outcome.outcome === 'read' ? [] : outcome.problems;
};

describe('the settings file', () => {
  test('needs a namespace and an image; everything else has its default', () => {
    expect(parseSettings('{"namespace":"s","proxy":{"image":"i"}}')).toMatchObject({ outcome: 'read', settings: { leaderElection: true, watchNamespaces: [], proxy: { replicas: 2, drainSeconds: 900, listenPorts: { first: 20_000, last: 29_999 } } } });
  });
  test.each([
    ['a misspelt setting', { namespace: 's', proxy: { image: 'i', replica: 3 } }, /proxy: .*replica/],
    ['no image', { namespace: 's', proxy: {} }, /proxy\.image/],
    ['ports in the wrong order', { namespace: 's', proxy: { image: 'i', listenPorts: { first: 3_000, last: 2_000 } } }, /listenPorts/],
    ['a claim for two proxies', { namespace: 's', proxy: { image: 'i', stateClaim: 'c' } }, /not shared/],
  ])('with %s is refused', (_name, value, problem) => {
    expect(problemsOf(value)).toEqual([expect.stringMatching(problem)]);
  });
  test('that is no JSON is refused', () => {
    expect(parseSettings('namespace: s')).toEqual({ outcome: 'rejected', problems: ['(root): not JSON'] });
  });
  test('that is not there is refused by its name', async () => {
    expect(await readSettings('/nonexistent/settings.json')).toEqual({ outcome: 'rejected', problems: [expect.stringContaining('/nonexistent/settings.json')] });
  });
});
