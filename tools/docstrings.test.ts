import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { findUndocumented } from './docstrings.ts';

/** Folders whose exports other modules, or other programs, build on (house-style.md, acceptance 2). */
const folders = ['contract', 'runtime', 'sidecar/core', 'operator/render'] as const;

describe('docstrings', () => {
  test.each(folders)('stand above every export of %s', (folder) => {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts') && !path.endsWith('.gen.ts'));
    expect(files.length).toBeGreaterThan(0);
    const missing = files.flatMap((path) => findUndocumented(readFileSync(`${folder}/${path}`, 'utf8')).map(({ name, line }) => `${folder}/${path}:${line} ${name}`));
    expect(missing).toEqual([]);
  });

  test('are missed above functions, constants, classes and types alike', () => {
    const source = ['export function a() {}', 'export async function b() {}', 'export const c = 1;', 'export class D {}', 'export interface E {}', 'export type F = 1;'].join('\n');
    expect(findUndocumented(source).map((one) => one.name)).toEqual(['a', 'b', 'c', 'D', 'E', 'F']);
  });

  test('are seen on one line and on several', () => {
    expect(findUndocumented('/** One. */\nexport const a = 1;\n\n/**\n * Two.\n */\nexport const b = 2;\n')).toEqual([]);
  });
});
