import type { ProxyConfigResource } from '../../contract/api/v1alpha1.gen.ts';
import { parseProxyConfig, type ProxyConfig } from '../../contract/proxy-config.ts';

/** Reads the config in a ProxyConfig object; null when there is none that can be read. */
export type ConfigReader = (object: ProxyConfigResource | null) => ProxyConfig | null;

/** A reader that parses each revision once: a config may be 768 KiB, and each request of its namespace needs it. */
export function configReader(): ConfigReader {
  const parsed = new WeakMap<ProxyConfigResource, ProxyConfig | null>();
  return (object) => {
    if (object === null) return null;
    const known = parsed.get(object);
    if (known !== undefined) return known;
    const config = read(object.spec.config);
    parsed.set(object, config);
    return config;
  };
}

function read(text: string): ProxyConfig | null {
  try {
    const outcome = parseProxyConfig(JSON.parse(text));
    return outcome.outcome === 'parsed' ? outcome.config : null;
  } catch {
    return null;
  }
}
