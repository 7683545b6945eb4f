import { expect, test } from '@jest/globals';
import { nativeProblem } from './native.ts';

const complete: Readonly<Record<string, unknown>> = { ssh2: { sallyportPatch: 'sallyport-1' }, 'ssh2/lib/protocol/crypto.js': { bindingAvailable: true }, 'cpu-features': () => ({}) };
const problem = (changed: Readonly<Record<string, unknown>>): string | null =>
  nativeProblem((module) => {
    const found = { ...complete, ...changed }[module];
    if (found === undefined) throw new Error(`Cannot find module '${module}'\nand more`);
    return found;
  });

test('a patched ssh2 with its compiled parts is no problem', () => expect(problem({})).toBeNull());

test.each<[string, Readonly<Record<string, unknown>>, string]>([
  ['ssh2 as published', { ssh2: {} }, 'ssh2 bears no patch: run make setup'],
  ['an older patch', { ssh2: { sallyportPatch: 'sallyport-0' } }, 'ssh2 bears another patch: run make setup'],
  ['no ssh2', { ssh2: undefined }, "ssh2 does not load: Cannot find module 'ssh2'"],
  ['no compiled ciphers', { 'ssh2/lib/protocol/crypto.js': { bindingAvailable: false } }, 'the native part of ssh2 is not built for this Node: run make setup on a machine with a C++ compiler, make and python3'],
  ['no cpu-features', { 'cpu-features': undefined }, 'cpu-features is not built for this Node: run make setup on a machine with a C++ compiler, make and python3'],
  ['cpu-features that does not run', { 'cpu-features': () => { throw new Error('was compiled against another Node'); } }, 'cpu-features is not built for this Node: run make setup on a machine with a C++ compiler, make and python3'],
])('%s is said in words', (_name, changed, words) => expect(problem(changed)).toBe(words));
