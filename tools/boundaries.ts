/**
 * Who may import whom: the table that biome.json's overrides are generated from and that boundaries.test.ts tries to break.
 * tsc project references enforce the larger lines once more, for imports of types and `import()` too.
 */
export interface Boundary {
  /** Folder, or a glob of files, as biome.json's `includes` takes it. */
  readonly files: string;
  /** Narrower rows that replace this one inside the folder. */
  readonly except?: readonly string[];
  /** Our own modules that must not be imported, as patterns of import paths (gitignore style; the last match wins). */
  readonly never: readonly string[];
  /** npm packages that product code here may import; tests may import any package. */
  readonly packages: readonly string[];
  /** `node:` modules: all of them, or only these. */
  readonly node: 'all' | readonly string[];
  /** One forbidden import of each kind, relative to the folder: boundaries.test.ts plants them. */
  readonly planted: readonly string[];
}

const tests = ['**/tools/**', '**/e2e/**', '**/bench/**', '**/examples/**'] as const;
const everything = ['**/contract/**', '**/runtime/**', '**/operator/**', '**/sidecar/**', '**/cli/**', '**/console/**', ...tests] as const;

/** Every module of ours. The more special row stands later: in biome.json the last override wins. */
export const boundaries: readonly Boundary[] = [
  { files: 'contract/**', never: everything.filter((path) => path !== '**/contract/**'), packages: ['zod', '@marcbachmann/cel-js', 'json-canonicalize'], node: ['crypto'],
    planted: ['../runtime/clock.ts', '../sidecar/core/errors.ts', 'pg', 'node:fs'] },
  { files: 'runtime/**', never: everything.filter((path) => path !== '**/runtime/**'), packages: ['prom-client', 'undici'], node: 'all',
    planted: ['../contract/names.ts', '../sidecar/core/errors.ts', 'zod', '@kubernetes/client-node'] },
  { files: 'operator/render/**', never: ['**/operator/**', '**/kube/**', '**/controllers/**', '**/runtime/**', '**/sidecar/**', '**/cli/**', '**/console/**', ...tests], packages: [], node: ['crypto'],
    planted: ['../kube/client.ts', '../../runtime/clock.ts', '../../sidecar/core/errors.ts', 'node:fs', 'node:net', 'node:http', '@kubernetes/client-node'] },
  { files: 'operator/kube/**', never: ['**/render/**', '**/controllers/**', '**/sidecar/**', '**/cli/**', '**/console/**', ...tests], packages: ['@kubernetes/client-node', 'undici', 'prom-client'], node: 'all',
    planted: ['../render/proxy-config.ts', '../controllers/plan.ts', '../../sidecar/core/errors.ts'] },
  // x509 makes a namespace's listener certificate.
  { files: 'operator/controllers/**', never: ['**/sidecar/**', '**/cli/**', '**/console/**', ...tests], packages: ['@peculiar/x509', 'reflect-metadata'], node: 'all',
    planted: ['../../sidecar/core/errors.ts', '@kubernetes/client-node'] },
  { files: 'operator/*.ts', never: ['**/sidecar/**', '**/cli/**', '**/console/**', ...tests], packages: [], node: 'all',
    planted: ['../sidecar/core/errors.ts', '@kubernetes/client-node'] },
  { files: 'sidecar/core/**', except: ['sidecar/core/identity/**'], never: ['**/sidecar/**', '**/postgres/**', '**/ssh/**', '**/adapters/**', '**/runtime/**', '**/operator/**', '**/cli/**', '**/console/**', ...tests],
    packages: [], node: ['crypto', 'util', 'buffer'],
    planted: ['../../runtime/clock.ts', '../adapters/segment-file.ts', '../postgres/startup.ts', 'node:net', 'node:tls', 'node:fs', 'node:http', 'node:child_process', 'ssh2', 'pg-protocol', 'jose'] },
  { files: 'sidecar/core/identity/**', never: ['**/sidecar/**', '**/postgres/**', '**/ssh/**', '**/adapters/**', '**/runtime/**', '**/operator/**', '**/cli/**', '**/console/**', ...tests],
    packages: ['jose', '@marcbachmann/cel-js'], node: ['crypto', 'util', 'buffer'],
    planted: ['../../../runtime/clock.ts', '../../adapters/jwks.ts', 'node:net', 'node:fs'] },
  { files: 'sidecar/postgres/**', never: ['**/ssh/**', '**/adapters/**', '**/operator/**', '**/cli/**', '**/console/**', ...tests], packages: [], node: 'all',
    planted: ['../ssh/connection.ts', '../adapters/segment-file.ts', '../../operator/render/proxy-config.ts', 'undici', 'pg', 'pg-protocol'] },
  { files: 'sidecar/ssh/**', never: ['**/postgres/**', '**/adapters/**', '**/operator/**', '**/cli/**', '**/console/**', ...tests], packages: ['ssh2', '@xterm/headless'], node: 'all',
    planted: ['../postgres/startup.ts', '../adapters/segment-file.ts', 'undici'] },
  // Beyond the table of the architecture: zod reads what this module itself wrote to disk, jose holds fetched keys.
  { files: 'sidecar/adapters/**', never: ['**/postgres/**', '**/ssh/**', '**/operator/**', '**/cli/**', '**/console/**', ...tests], packages: ['undici', 'libpg-query', 'unbash', 'zod', 'jose'], node: 'all',
    planted: ['../postgres/startup.ts', '../ssh/connection.ts', '@kubernetes/client-node'] },
  { files: 'sidecar/*.ts', never: ['**/operator/**', '**/cli/**', '**/console/**', ...tests], packages: [], node: 'all',
    planted: ['../operator/render/proxy-config.ts', '../cli/main.ts'] },
  { files: 'cli/**', except: ['cli/ssh/**'], never: ['**/operator/**', '!**/operator/render/**', '**/console/**', ...tests], packages: ['yaml', 'zod', 'fflate', 'jose'], node: 'all',
    planted: ['../operator/kube/client.ts', '../operator/controllers/plan.ts', '@kubernetes/client-node', 'pg'] },
  // ssh2 is the client that fetches a credential: the system's `ssh` would cut the token.
  { files: 'cli/ssh/**', never: ['**/operator/**', '!**/operator/render/**', '**/console/**', ...tests], packages: ['ssh2'], node: 'all',
    planted: ['../../operator/controllers/plan.ts', 'pg'] },
  { files: 'console/**', never: everything.filter((path) => path !== '**/contract/**' && path !== '**/console/**'), packages: [], node: [],
    planted: ['../sidecar/core/errors.ts', '../runtime/clock.ts', 'node:fs'] },
];

/** What product code must do without: only tests, tools and the e2e hosts may. */
export const testFiles = '**/*.test.ts';

/** biome.json's pattern groups for one row; `forTests`: the tests beside the code, which may import any package, `node:` module and the test kit. */
export function restrictedPatterns(row: Boundary, forTests: boolean): readonly { readonly group: readonly string[]; readonly message: string }[] {
  const ours = { group: forTests ? [...row.never.filter((path) => !(tests as readonly string[]).includes(path)), '**/e2e/**', '**/bench/**', '**/examples/**'] : row.never, message: `${row.files} may not import this module of ours (tools/boundaries.ts).` };
  if (forTests) return [ours];
  const allowed = [...row.packages.flatMap((name) => [`!${name}`, `!${name}/**`]), ...(row.node === 'all' ? ['!node:*', '!node:*/**'] : row.node.map((name) => `!node:${name}`))];
  return [ours, { group: ['**', '!./**', '!../**', ...allowed], message: `${row.files} may not import this package (tools/boundaries.ts).` }];
}
