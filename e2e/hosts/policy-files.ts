import { eventually } from './clients.ts';
import type { World } from './gateway.ts';

/** An AccessPolicy for the test world; what is left out restricts nothing. */
export interface PolicySpec {
  readonly name?: string;
  readonly subjects?: readonly object[];
  readonly access?: object;
  readonly when?: readonly object[];
  readonly limits?: Readonly<Record<string, string | number>>;
  readonly rules?: readonly object[];
  readonly masking?: readonly object[];
}

/** Every class of statements but those that only a rule of their own may allow. */
export const usualStatements: readonly string[] = ['Select', 'Insert', 'Update', 'Delete', 'Merge', 'CopyOut', 'CopyIn', 'Explain', 'Call', 'DDL', 'Set', 'Lock', 'Maintenance'];

/** The rule that lets group sre work. */
export const allowUsual = { name: 'usual', action: 'Allow', postgres: { statements: usualStatements } } as const;

/** AccessPolicies as a file: JSON is YAML. */
export function policyFile(...policies: readonly PolicySpec[]): string {
  return policies.map(({ name = 'everything', subjects = [{ kind: 'Group', name: 'sre' }], rules = [allowUsual], ...spec }) => JSON.stringify({
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name }, spec: { subjects, targets: { names: ['db'] }, rules, ...spec },
  })).join('\n---\n');
}

/** Writes a config file (null deletes it) and waits until the gateway says that the change is in force. */
export async function putConfig(world: World, file: string, text: string | null): Promise<void> {
  const before = swaps(world);
  world.writeConfig(file, text);
  await eventually(`${file} is in force`, () => swaps(world) > before);
}

function swaps(world: World): number {
  return world.gateway.stderr().split('"config in force"').length;
}
