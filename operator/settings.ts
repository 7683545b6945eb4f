import { readFile } from 'node:fs/promises';
import { operatorSettingsSchema } from '../contract/operator-settings.ts';
import type { OperatorSettings } from '../contract/operator-settings.ts';

/** Where the chart mounts the settings. */
export const settingsPath = '/etc/sallyport/operator/settings.json';

/** The settings, or every problem as `path: message`. */
export type SettingsOutcome = { readonly outcome: 'read'; readonly settings: OperatorSettings } | { readonly outcome: 'rejected'; readonly problems: readonly string[] };

/** Reads the operator's settings file; nothing wrong in it is ignored. */
export async function readSettings(path: string): Promise<SettingsOutcome> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    return { outcome: 'rejected', problems: [`${path}: ${error instanceof Error ? error.message : 'cannot be read'}`] };
  }
  return parseSettings(text);
}

/** Reads the text of a settings file. */
export function parseSettings(text: string): SettingsOutcome {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { outcome: 'rejected', problems: ['(root): not JSON'] };
  }
  const parsed = operatorSettingsSchema.safeParse(value);
  if (!parsed.success) return { outcome: 'rejected', problems: parsed.error.issues.map((issue) => `${issue.path.join('.') || '(root)'}: ${issue.message}`) };
  const { listenPorts, stateClaim, replicas } = parsed.data.proxy;
  const problems = [
    ...(listenPorts.last < listenPorts.first ? ['proxy.listenPorts.last: below first'] : []),
    ...(stateClaim !== null && replicas > 1 ? ['proxy.stateClaim: a claim is not shared, so replicas must be 1'] : []),
  ];
  return problems.length > 0 ? { outcome: 'rejected', problems } : { outcome: 'read', settings: parsed.data };
}
