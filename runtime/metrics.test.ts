import { expect, test } from '@jest/globals';
import { createMetrics } from './metrics.ts';

test('every series of a closed label set is there from the start, at zero', async () => {
  const metrics = createMetrics({ process: false });
  const count = metrics.counter({ name: 'sallyport_sessions_total', help: 'Sessions.', labels: { outcome: ['opened', 'denied'] } });
  count({ outcome: 'denied' });
  metrics.gauge({ name: 'sallyport_sessions', help: 'Open sessions.', labels: {} }, () => 7);
  const observe = metrics.histogram({ name: 'sallyport_hold_seconds', help: 'Holds.', labels: {}, buckets: [1, 60] });
  observe({}, 2);
  expect((await metrics.render()).split('\n').filter((line) => !line.startsWith('#') && line !== '')).toEqual([
    'sallyport_sessions_total{outcome="opened"} 0', 'sallyport_sessions_total{outcome="denied"} 1', 'sallyport_sessions 7', 'sallyport_hold_seconds_bucket{le="1"} 0', 'sallyport_hold_seconds_bucket{le="60"} 1',
    'sallyport_hold_seconds_bucket{le="+Inf"} 1', 'sallyport_hold_seconds_sum 2', 'sallyport_hold_seconds_count 1',
  ]);
});

test('a tally shows the numbers of its owner at each scrape', async () => {
  const metrics = createMetrics({ process: false });
  const counts = { allowed: 0, denied: 2 };
  metrics.tally({ name: 'sallyport_statements_total', help: 'Statements.', label: 'decision' }, counts);
  counts.allowed += 3;
  await metrics.render();
  counts.denied++;
  expect((await metrics.render()).split('\n').slice(2, 4)).toEqual(['sallyport_statements_total{decision="allowed"} 3', 'sallyport_statements_total{decision="denied"} 3']);
  expect(() => metrics.tally({ name: 'sallyport_statements', help: 'A.', label: 'decision' }, counts)).toThrow(RangeError);
});

test('a label value outside its set, a bad name and too many series are bugs', () => {
  const metrics = createMetrics({ process: false });
  const count = metrics.counter({ name: 'sallyport_a_total', help: 'A.', labels: { outcome: ['ok'] } });
  expect(() => count({ outcome: 'alice' as 'ok' })).toThrow(RangeError);
  expect(() => metrics.counter({ name: 'sallyport_sessions', help: 'A.', labels: {} })).toThrow(RangeError);
  expect(() => metrics.histogram({ name: 'sallyport_hold_ms', help: 'A.', labels: {}, buckets: [1] })).toThrow(RangeError);
  expect(() => metrics.counter({ name: 'sallyport_b_total', help: 'A.', labels: { a: Array.from({ length: 201 }, (_, index) => `v${index}`) } })).toThrow(RangeError);
});

test('two registries of one process do not share series', async () => {
  createMetrics({ process: false }).counter({ name: 'sallyport_a_total', help: 'A.', labels: {} })({});
  expect(await createMetrics({ process: false }).render()).not.toContain('sallyport_a_total');
});
