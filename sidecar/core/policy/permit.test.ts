import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { anIdentity, aTarget } from '../../../tools/testkit/policies.ts';
import type { Permit } from './permit.ts';

const looksRight = {
  identity: anIdentity(), target: aTarget(), namespace: 'payments', database: 'orders', policies: [],
  limits: { sessionSeconds: null, idleSeconds: null, concurrentSessions: null, rowsPerStatement: null, bytesPerStatement: null },
  masking: [], recording: { content: 'Full', durability: 'Write' }, notAfterMs: 0, notAfterReason: 'TokenExpired',
} as const;

function dial(permit: Permit): string {
  return permit.target.name;
}

test('a value that only looks like a permit does not compile as one', () => {
  // The compiler is the test: each directive below is an error when the line after it compiles.
  // @ts-expect-error the brand is missing
  expect(dial(looksRight)).toBe('orders-db');
  // @ts-expect-error the brand cannot be spelled outside permit.ts
  const forged: Permit = { ...looksRight, brand: true };
  expect(dial(forged)).toBe('orders-db');
});

test('only authorize.ts seals permits', () => {
  const root = new URL('../../../', import.meta.url);
  const users = ['sidecar', 'cli', 'operator', 'runtime', 'contract']
    .flatMap((folder) => readdirSync(new URL(`${folder}/`, root), { recursive: true, encoding: 'utf8' }).map((file) => `${folder}/${file}`))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && readFileSync(new URL(file, root), 'utf8').includes('sealPermit'));
  expect(users.sort()).toEqual(['sidecar/core/policy/authorize.ts', 'sidecar/core/policy/permit.ts']);
});
