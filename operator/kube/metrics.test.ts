import { expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { createOperatorMetrics } from './metrics.ts';

test('requests, leadership, contact and relists have controller-runtime’s and our names', async () => {
  const registry = new Registry();
  const metrics = createOperatorMetrics(registry);
  let nowMs = 1_000;
  let isLeader = false;
  metrics.request({ code: '200', method: 'GET', host: '10.96.0.1:443', durationMs: 1 });
  metrics.leader('sallyport-operator', () => isLeader);
  metrics.reflector('Target', () => 0, () => nowMs).relisted('start');
  metrics.reflector('Target', () => 6_000, () => nowMs).relisted('expired');
  nowMs = 8_000;
  isLeader = true;
  const lines = (await registry.metrics()).split('\n');
  expect(lines).toEqual(expect.arrayContaining([
    'rest_client_requests_total{code="200",method="GET",host="10.96.0.1:443"} 1', 'leader_election_master_status{name="sallyport-operator"} 1',
    // The oldest contact of the kind; before the first one the time since the start.
    'sallyport_reflector_last_contact_seconds{kind="Target"} 7', 'sallyport_reflector_relists_total{kind="Target",reason="start"} 1', 'sallyport_reflector_relists_total{kind="Target",reason="expired"} 1',
  ]));
});
