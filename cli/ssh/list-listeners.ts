import { sshKnownHostsConfigMap } from '../../contract/names.ts';
import { createDirectoryCompiler } from '../compile-directory.ts';
import { type CommandIo, GatewayError } from '../gateway-client.ts';
import { generationMemory } from '../generation-file.ts';
import { findCluster, type Kubectl } from '../kubectl.ts';

/** Where the listener of an SSH Target is. */
export interface SshListener {
  /** What to type behind `ssh`. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly accounts: readonly string[];
}

/** Options that say which gateway is meant. */
export interface PlaceOfListeners {
  readonly config: string | undefined;
  readonly address: string | undefined;
  readonly namespace: string | undefined;
  readonly context: string | undefined;
  readonly kubeconfig: string | undefined;
}

/** Their lines in a command's help. */
export const listenerHelp = `  --config DIR           directory mode: the gateway's config directory
  --address ADDRESS      directory mode: where the gateway listens (default 127.0.0.1)
  -n, --namespace NAME   in a cluster: the namespace (default: that of the current context)
  --context NAME         in a cluster: the kubeconfig's context
  --kubeconfig FILE      in a cluster: the kubeconfig`;

/** The listeners of all SSH Targets, by name. @throws GatewayError with a code and a hint. */
export async function listListeners(place: PlaceOfListeners, io: CommandIo): Promise<readonly SshListener[]> {
  return place.config === undefined ? listFromCluster(await clusterOf(place, io)) : listFromDirectory(place.config, place.address ?? '127.0.0.1');
}

/** The cluster that is meant. @throws GatewayError USAGE when there is none. */
export async function clusterOf(place: PlaceOfListeners, io: CommandIo): Promise<Kubectl> {
  const named = (name: 'namespace' | 'context' | 'kubeconfig'): Readonly<Record<string, string>> => (place[name] === undefined ? {} : { [name]: place[name] });
  const kubectl = await findCluster({ values: { ...named('namespace'), ...named('context'), ...named('kubeconfig') }, io });
  if (kubectl === null) throw new GatewayError('USAGE', 'no gateway is named', 'give the options of directory mode, or those of a cluster');
  return kubectl;
}

/** Lines of a known_hosts file that the operator keeps for a namespace. @throws GatewayError */
export async function knownHostsOfCluster(kubectl: Kubectl): Promise<string> {
  const object = asObject(await kubectl.json(['get', 'configmaps'], { operands: [sshKnownHostsConfigMap] }));
  const text = asObject(object['data'])['known_hosts'];
  if (typeof text !== 'string' || text === '') throw new GatewayError('NO_SSH_TARGETS', 'this namespace has no host key for SSH', 'is there an SSH Target, and is its operator running?');
  return text;
}

async function listFromDirectory(directory: string, address: string): Promise<readonly SshListener[]> {
  const outcome = await createDirectoryCompiler({ dir: directory, namespace: null, generations: generationMemory() }).load();
  if (outcome.outcome === 'problems') throw new GatewayError('CONFIG_INVALID', 'the config directory has errors', `see: sallyport config check ${directory}`);
  return outcome.config.targets.flatMap((target) => ('ssh' in target ? [{ name: target.name, host: address, port: target.listenPort, accounts: target.ssh.accounts }] : []));
}

async function listFromCluster(kubectl: Kubectl): Promise<readonly SshListener[]> {
  const { items } = asObject(await kubectl.json(['get', 'targets.sallyport.dev']));
  return (Array.isArray(items) ? items : []).flatMap((item: unknown) => {
    const [metadata, ssh] = [asObject(asObject(item)['metadata']), asObject(asObject(item)['spec'])['ssh']];
    const [name, namespace] = [metadata['name'], metadata['namespace']];
    if (ssh === undefined || typeof name !== 'string' || typeof namespace !== 'string') return [];
    const { accounts } = asObject(ssh);
    return [{ name: `${name}.${namespace}`, host: `${name}.${namespace}.svc`, port: 22, accounts: Array.isArray(accounts) ? accounts.filter((account): account is string => typeof account === 'string') : [] }];
  });
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
