import type { ProxyConfig } from '../../contract/proxy-config.ts';

/** Whether any rule about a Target could grant agent or X11 forwarding. Decides nothing: it tells only what no rule can grant, before it is known who asks. */
export function mayGrant(config: ProxyConfig | null, target: string, what: 'agent' | 'x11'): boolean {
  const kind = what === 'agent' ? 'Agent' : 'X11';
  return config?.policies.some((policy) => policy.targets.includes(target) && policy.rules.some((rule) => 'ssh' in rule && rule.action !== 'Deny' && rule.ssh.match.kind === kind)) ?? false;
}
