import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

/**
 * A checkout in which npm ran with install scripts blocked: everything installed, but no node_modules/.bin/node.
 * The machine's own node is a stand-in that says it is 20.19.0.
 */
const root = mkdtempSync(join(tmpdir(), 'sallyport-node-'));

beforeAll(() => {
  for (const file of ['Makefile', 'package.json', 'package-lock.json', '.npmrc', 'tools/node-check.mjs']) cpSync(file, join(root, file));
  mkdirSync(join(root, 'node_modules/.bin'), { recursive: true });
  mkdirSync(join(root, 'machine'));
  const preload = "const versions={...process.versions,node:'20.19.0'};Object.defineProperty(process,'versions',{value:versions});Object.defineProperty(process,'version',{value:'v20.19.0'});";
  writeFileSync(join(root, 'machine/node'), `#!/bin/sh\nexec "${process.execPath}" --import "data:text/javascript,${encodeURIComponent(preload)}" "$@"\n`);
  // npm has nothing to do here, and must not reach for the network.
  writeFileSync(join(root, 'machine/npm'), '#!/bin/sh\nexit 0\n');
  for (const name of ['node', 'npm']) chmodSync(join(root, 'machine', name), 0o755);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const targets = [...readFileSync('Makefile', 'utf8').matchAll(/^([a-z][a-z0-9-]*):/gm)].map((match) => match[1] ?? '');

function make(target: string): { readonly status: number | null; readonly stderr: string } {
  // No socket as standard input: bash would take that for a remote shell and read ~/.bashrc.
  return spawnSync('make', [target], { stdio: ['ignore', 'pipe', 'pipe'], cwd: root, encoding: 'utf8', timeout: 30_000, env: { PATH: `${join(root, 'machine')}:/usr/bin:/bin` } });
}

describe('with install scripts blocked on a machine with an old Node', () => {
  test.each(targets.filter((target) => target !== 'help' && target !== 'setup'))('make %s fails and names the version, the path and allowScripts', (target) => {
    const ran = make(target);
    expect(ran.status).not.toBe(0);
    expect(ran.stderr).toContain('Node v20.19.0');
    expect(ran.stderr).toContain(process.execPath);
    expect(ran.stderr).toContain('allowScripts');
  });

  test.each(['help', 'setup'])('make %s succeeds', (target) => {
    expect(make(target)).toMatchObject({ status: 0 });
  });
});
