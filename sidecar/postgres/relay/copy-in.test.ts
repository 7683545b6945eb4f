import { describe, expect, test } from '@jest/globals';
import { aRelay, backend, frontend, type RelayBench } from '../../../tools/testkit/relay-context.ts';
import * as write from '../wire/frame-writer.ts';

const long = frontend.copyData('x'.repeat(100_000));
const pieces = [long.subarray(0, 40_000), long.subarray(40_000, 70_000), long.subarray(70_000)] as const;

/** A COPY t FROM STDIN that has started. */
async function copying(): Promise<RelayBench> {
  const relay = aRelay();
  const started = relay.client(write.query('copy t from stdin'));
  relay.server(backend.copyIn());
  await started;
  relay.toServer();
  return relay;
}

describe('CopyData that comes in parts', () => {
  test('passes in parts, counted', async () => {
    const relay = await copying();
    for (const piece of pieces) await relay.client(piece);
    await relay.client(frontend.copyDone);
    relay.server(backend.complete('COPY 1'), backend.ready());
    expect(relay.toServer()).toEqual([`d ${'x'.repeat(100_000)}`, 'c']);
  });

  test('goes on to its end when the COPY fails meanwhile: what follows is not swallowed as its rows', async () => {
    const relay = await copying();
    await relay.client(pieces[0]);
    relay.server(backend.error('22P02'), backend.ready());
    await relay.client(pieces[1]);
    await relay.client(pieces[2], frontend.copyData('dropped'), frontend.copyDone, write.query('select 1'));
    expect(relay.toServer()).toEqual([`d ${'x'.repeat(100_000)}`, 'Q select 1']);
  });

  test('is dropped to its end when it began after the COPY had failed', async () => {
    const relay = await copying();
    relay.server(backend.error('22P02'), backend.ready());
    for (const piece of pieces) await relay.client(piece);
    await relay.client(write.query('select 1'));
    expect(relay.toServer()).toEqual(['Q select 1']);
  });
});
