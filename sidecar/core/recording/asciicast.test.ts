import { describe, expect, test } from '@jest/globals';
import { aCastHeader, anSshSubject } from '../../../tools/testkit/ssh-audit.ts';
import { Asciicast, castSessionBytes } from './asciicast.ts';
import { CastCollector, castChannel, castName, castsJson } from './cast-list.ts';

function aCast(limit: number = castSessionBytes): Asciicast {
  return new Asciicast(aCastHeader(), anSshSubject(), { origin: 'o', startedMs: 1000, startedAtMs: 1_790_000_000_123 }, { left: limit, limit });
}

function lines(cast: Asciicast): readonly [number, string, string][] {
  return cast.take().trimEnd().split('\n').slice(1).map((line) => JSON.parse(line) as [number, string, string]);
}

describe('an asciicast', () => {
  test('says the time between events without drifting: 10,000 events of a third of a millisecond', () => {
    const cast = aCast();
    for (let n = 1; n <= 10_000; n += 1) cast.output(1000 + n / 3, Buffer.from('x'));
    const sum = lines(cast).reduce((all, [interval]) => all + interval, 0);
    expect(Math.abs(sum * 1000 - 10_000 / 3)).toBeLessThan(1);
  });

  test('never goes back in time', () => {
    const cast = aCast();
    cast.marker(5000, 'late');
    cast.marker(2000, 'early');
    expect(lines(cast).map(([interval]) => interval)).toEqual([4, 0]);
  });

  test('bounds what the client chooses', () => {
    const cast = aCast();
    cast.resize(1000, 1e9, -5);
    cast.resize(1000, Number.NaN, 2.9);
    cast.marker(1000, 'm'.repeat(5000));
    expect(lines(cast).map(([, , data]) => data.slice(0, 1024).length === data.length && data)).toEqual(['65535x1', '1x2', 'm'.repeat(1024)]);
  });

  test('splits large output into lines of at most 64 KiB, and keeps every character', () => {
    const cast = aCast();
    const text = 'é€😀x'.repeat(30_000);
    cast.output(1000, Buffer.from(text));
    cast.end(1000);
    expect(cast.dirty).toBe(true);
    expect(cast.pendingLength).toBeGreaterThan(text.length);
    const all = lines(cast);
    expect(all.length).toBeGreaterThan(3);
    expect(all.map(([, , data]) => data).join('')).toBe(text);
    expect(cast.dirty).toBe(false);
  });

  test('shows what is no character as one replacement, also at the end', () => {
    const cast = aCast();
    cast.output(1000, Uint8Array.of(0x61, 0xff));
    cast.output(1000, Uint8Array.of(0xe2, 0x82));
    cast.end(1000);
    expect(lines(cast).map(([, , data]) => data)).toEqual(['a\ufffd', '\ufffd']);
  });

  test('stops within one large output, and drops what would end it', () => {
    const cast = aCast(80_000);
    cast.output(1000, Buffer.alloc(200_000, 'x'));
    cast.output(1000, Uint8Array.of(0xe2), 'stderr');
    cast.end(1000);
    expect(cast.counts).toEqual({ outputBytes: 200_001, droppedBytes: 134_465 });
    expect(lines(cast).map(([, code]) => code)).toEqual(['o', 'm']);
  });
});

describe('the list of recordings', () => {
  const sealed = (channel: number) => ({ channel, uri: `recordings/s.${channel}.cast.gz`, sha256: `sha256:${String(channel).padStart(64, '0')}`, bytes: 5, outputBytes: null, droppedBytes: null });

  test('names the only one directly, and several by the digest of their list', () => {
    const collector = new CastCollector();
    expect(collector.summary('s')).toBeNull();
    collector.add(sealed(1));
    expect(collector.summary('s')).toEqual({ uri: 'recordings/s.1.cast.gz', sha256: '1'.padStart(64, '0'), format: 'asciicast/3' });
    collector.add(sealed(2));
    expect(collector.summary('s')).toMatchObject({ uri: 'recordings/s.*.cast.gz', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown as string });
    expect(castsJson('s', collector.take())).toMatchObject({ uri: null, count: 2, casts: [{ channel: 1, output_bytes: null }, { channel: 2 }] });
  });

  test('knows its own files', () => {
    expect(castName('s', 3)).toBe('s.3.cast');
    expect(['s.3.cast', 's.3.cast.gz', 's2.3.cast', 's.sqlrec', 's.x.cast', 's.3.cast.gz.tmp'].map((name) => castChannel('s', name))).toEqual([3, 3, null, null, null, null]);
  });
});
